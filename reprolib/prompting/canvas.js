// An image on which boxes are dragged. The kernel sees finished boxes only: nothing travels while one is drawn.
const COLOURS = ["#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"];
const LEAST = 3; // px on the screen, in both directions: a click or a twitch is no box

function render({ model, el }) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const image = new Image();
  let start = null; // image px, while a box is dragged
  let end = null;

  const width = model.get("width");
  const height = model.get("height");
  canvas.width = model.get("shown_width");
  canvas.height = Math.max(1, Math.round((canvas.width * height) / width));
  canvas.style.cssText = "max-width: 100%; cursor: crosshair; touch-action: none;";

  function place(event) { // where the pointer is: image px, within the image
    const shown = canvas.getBoundingClientRect();
    const x = ((event.clientX - shown.left) / shown.width) * width;
    const y = ((event.clientY - shown.top) / shown.height) * height;
    return [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
  }

  function box() {
    const rounded = (a, b) => Math.round(10 * (a < b ? a : b)) / 10;
    return [
      rounded(start[0], end[0]),
      rounded(start[1], end[1]),
      -rounded(-start[0], -end[0]),
      -rounded(-start[1], -end[1]),
    ];
  }

  function stroke([left, top, right, bottom], colour, dashes) {
    const scale = canvas.width / width;
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.setLineDash(dashes);
    context.strokeRect(left * scale, top * scale, (right - left) * scale, (bottom - top) * scale);
  }

  function draw() {
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (image.complete && image.naturalWidth) context.drawImage(image, 0, 0, canvas.width, canvas.height);
    model.get("boxes").forEach((one, number) => stroke(one, COLOURS[number % COLOURS.length], []));
    if (start) stroke(box(), "#FFFFFF", [5, 3]);
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId); // a box may be dragged beyond the border, and ends at it
    start = end = place(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!start) return;
    end = place(event);
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!start) return;
    end = place(event);
    const drawn = box();
    start = end = null;
    const least = (LEAST * width) / canvas.getBoundingClientRect().width;
    if (drawn[2] - drawn[0] >= least && drawn[3] - drawn[1] >= least) {
      model.set("boxes", [...model.get("boxes"), drawn]);
      model.save_changes();
    }
    draw();
  });
  canvas.addEventListener("pointercancel", () => {
    start = end = null;
    draw();
  });

  const bytes = model.get("png");
  const address = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  image.onload = draw;
  image.src = address;
  model.on("change:boxes", draw);
  el.appendChild(canvas);
  draw();
  return () => {
    model.off("change:boxes", draw);
    URL.revokeObjectURL(address);
  };
}

export default { render };
