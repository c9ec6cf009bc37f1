// In the notebook: the page in a frame that can run its own script and nothing else; numbers go to and fro as messages.

export default {
  render({model, el}) {
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "allow-scripts allow-downloads");
    frame.title = "stepper";
    Object.assign(frame.style, {width: "100%", height: `${model.get("_height")}px`, border: "0"});
    frame.srcdoc = model.get("_page");
    const hear = event => {
      if (event.source !== frame.contentWindow) return;
      if (event.data.ready) return frame.contentWindow.postMessage({values: model.get("values"), ...model.get("_answer")}, "*");
      model.set("values", event.data.values);
      model.save_changes();
    };
    const tell = () => frame.contentWindow?.postMessage(model.get("_answer"), "*");
    addEventListener("message", hear);
    model.on("change:_answer", tell);
    el.append(frame);
    return () => {
      removeEventListener("message", hear);
      model.off("change:_answer", tell);
    };
  },
};
