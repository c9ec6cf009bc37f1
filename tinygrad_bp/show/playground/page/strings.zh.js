// What the page of a training says besides, in Simplified Chinese.

Object.assign(WORDS, {
  training: "训练现场", replay: "训练过程，逐步播放",
  train: {bar: "训练", restart: "回到起点", back: "前一个时刻", play: "训练", halt: "暂停", on: "走一步",
    when: "时刻", rate: "学习率", factor: "学习率 ×", batch: "批大小", all: n => `全部 ${n} 个`, pace: "每秒步数", fast: "尽可能快",
    start: "起点", own: "你的", other: n => `其他 ${n}`, keep: "保留这个时刻", drop: "去掉保留的时刻", trace: "单步走一遍反向传播",
    back2: "回到训练"},
  trainTitles: {restart: "Home", back: "←", play: "空格", on: "→"},
  lossByStep: logarithmic => logarithmic ? "每一步的损失，对数刻度" : "每一步的损失",
  map: "损失最小的类别，以及数据", mapOfNumber: "模型的输出，以及数据", curve: "模型的曲线，以及数据",
  against: "预测值与真实值", counts: "按真实类别与预测类别计数的样本", true: "真实", predicted: "预测",
  weights: "权重", gradients: "梯度", byLayer: "每层一个网格，每个神经元一行，偏置在最后",
  cell: (name, weight, grad) => `${name} = ${weight}，∂L/∂${name} = ${grad}`,
  slice: (a, b) => `沿 ${a} 和 ${b} 的损失，其余参数不变`, axes: "沿", unknown: name => `没有叫 ${name} 的参数。`,
  notARate: text => `“${text}”不是学习率（0 以上的数）：学习率保持不变。`,
  atStep: (step, loss) => `第 ${step} 步` + (loss === null ? "" : `，损失 ${loss}`), speedNow: n => `，每秒 ${n} 步`,
  now: step => `第 ${step} 步`, point: "样本点", hardest: "最难的点", ofPoint: loss => `损失 ${loss}`,
  silent: "没有梯度：从这个点已经学不到什么了",
  stopped: "损失、某个梯度或某个参数已经不是有限的数：这里保留的是那一步之前的参数。请用更小的学习率重新开始。",
  tooLargeToShow: "一个样本的计算图太大，这里画不下；所有图表说的都是整个模型。",
  missing: why => `这里只显示损失和权重，因为这个模型不能在网页里运行：${why}`,
});
