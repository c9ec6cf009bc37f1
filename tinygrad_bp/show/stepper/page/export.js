// The drawing as a file: with the page's own style, and the colours in which it is seen.

function asSvg({svg, size: [w, h]}) {
  const copy = svg.cloneNode(true), look = getComputedStyle(document.body);
  const style = document.querySelector("style").textContent, names = [...new Set(style.match(/--\w+(?=:)/g))];
  for (const one of copy.querySelectorAll(".absent, .token")) one.remove();
  for (const one of copy.querySelectorAll("[tabindex]")) one.removeAttribute("tabindex");
  const now = names.map(name => `${name}:${look.getPropertyValue(name)}`).join(";");
  copy.prepend(make("style", {}, `${style}:root{${now};font-family:system-ui,sans-serif}`),
    make("rect", {x: -16, y: -16, width: w, height: h, fill: look.backgroundColor}));
  set(copy, "width", w);
  set(copy, "height", h);
  return new Blob([new XMLSerializer().serializeToString(copy)], {type: "image/svg+xml"});
}

// Twice as large, for slides; no larger than a browser can paint.
async function asPng(drawing) {
  const [w, h] = drawing.size, scale = Math.min(2, 8000 / Math.max(w, h)), image = new Image(), canvas = document.createElement("canvas");
  image.src = URL.createObjectURL(asSvg(drawing));
  await image.decode();
  Object.assign(canvas, {width: w * scale, height: h * scale});
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise(done => canvas.toBlob(done, "image/png"));
}

function save(file, name) {
  const link = make("a", {href: URL.createObjectURL(file), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
