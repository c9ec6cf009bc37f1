// What the page of a training says besides.

Object.assign(WORDS, {
  training: "Training, live", replay: "Training, step by step",
  train: {bar: "training", restart: "back to the start", back: "earlier moment", play: "train", halt: "pause", on: "one step",
    when: "moment", rate: "rate", factor: "rate ×", batch: "batch", all: n => `all ${n}`, pace: "steps a second", fast: "as fast as it goes",
    start: "start", own: "yours", other: n => `other ${n}`, keep: "Keep this moment", drop: "Drop the kept moment", trace: "Step through backprop",
    back2: "Back to the training"},
  trainTitles: {restart: "Home", back: "←", play: "space", on: "→"},
  lossByStep: logarithmic => logarithmic ? "loss by step, on a logarithmic scale" : "loss by step",
  map: "the class with the least loss, and the data", mapOfNumber: "what the model answers, and the data", curve: "the model's curve, and the data",
  against: "predicted against true", counts: "samples by true and predicted class", true: "true", predicted: "predicted",
  weights: "weights", gradients: "gradients", byLayer: "a grid for each layer, a row for each neuron, its bias last",
  cell: (name, weight, grad) => `${name} = ${weight}, ∂L/∂${name} = ${grad}`,
  slice: (a, b) => `the loss along ${a} and ${b}, the others as they are`, axes: "along", unknown: name => `There is no parameter ${name}.`,
  notARate: text => `“${text}” is not a rate, which is a number from 0 up: the rate stays as it is.`,
  atStep: (step, loss) => `step ${step}` + (loss === null ? "" : `, loss ${loss}`), speedNow: n => `, ${n} steps/s`,
  now: step => `step ${step}`, point: "point", hardest: "Hardest point", ofPoint: loss => `loss ${loss}`,
  silent: "no gradient: nothing is left to learn from this point",
  stopped: "The loss, a gradient or a parameter is no longer finite: the parameters are those before that step. Start again with a lower rate.",
  tooLargeToShow: "The graph of a sample is too large to be drawn here; all figures are of the whole model.",
  missing: why => `Only losses and weights are shown here, since the model cannot run in a page: ${why}`,
});
