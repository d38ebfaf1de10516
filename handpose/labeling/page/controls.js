// Mouse, touch, buttons and keys.

const toScreen = (u, v) => [(u + 0.5) * view.scale + view.x, (v + 0.5) * view.scale + view.y];
const toImage = (x, y) => [(x - view.x) / view.scale - 0.5, (y - view.y) / view.scale - 0.5];

/** Fits the hand, or the complete image, into the view. */
function fit() {
  if (!frame || !frame.picture) return;
  const points = frame.joints.map(({ u, v, z }) => pointAt(u, v, z));
  const ends = [0, 1, 2].map(axis => [Math.min, Math.max].map(end => end(...points.map(point => point[axis]))));
  frame.box = { center: ends.map(([low, high]) => (low + high) / 2), size: Math.max(...ends.map(([low, high]) => high - low), 50) };
  view.moved = false;
  let [left, top, right, bottom] = [0, 0, frame.width, frame.height];
  if (!view.whole && frame.joints.length) {
    const [us, vs] = [frame.joints.map(({ u }) => u), frame.joints.map(({ v }) => v)];
    [left, top, right, bottom] = [Math.min(...us), Math.min(...vs), Math.max(...us), Math.max(...vs)];
    const margin = 0.22 * Math.max(right - left, bottom - top) + 4;
    [left, top, right, bottom] = [left - margin, top - margin, right + margin, bottom + margin];
  }
  view.scale = Math.min(image.clientWidth / (right - left), image.clientHeight / (bottom - top));
  view.x = image.clientWidth / 2 - view.scale * (left + right) / 2;
  view.y = image.clientHeight / 2 - view.scale * (top + bottom) / 2;
}

function zoomAt(x, y, factor) {
  if (!frame) return;
  const scale = Math.min(Math.max(view.scale * factor, 0.1), 80), ratio = scale / view.scale;
  Object.assign(view, { scale, x: x - ratio * (x - view.x), y: y - ratio * (y - view.y), moved: true });
  update();
}

function resetTurn() {
  Object.assign(turn, { yaw: Math.PI / 2, pitch: 0, zoom: 1 });
  update();
}

/** Returns the nearest joint within reach, or the selected one if it is about as near; -1 if there is none. */
function nearest(positions, x, y, reach) {
  const distances = positions.map(([left, top]) => Math.hypot(left - x, top - y));
  const best = distances.indexOf(Math.min(...distances));
  if (!(distances[best] <= reach)) return -1;
  return distances[selected] <= Math.min(distances[best] + 5, reach) ? selected : best;
}
const reachOf = event => event.pointerType === "touch" ? 28 : 14;
const imagePositions = () => frame && frame.joints ? frame.joints.map(({ u, v }) => toScreen(u, v)) : [];
const spacePositions = () => frame && frame.joints && frame.joints.length ? frame.joints.map(({ u, v, z }) => projection()(pointAt(u, v, z))) : [];

/** Lets the user drag joints on a canvas, and otherwise its view; two fingers zoom. */
function makeDraggable(canvas, positions, dragJoint, dragView, zoom) {
  const pointers = new Map();
  let joint = -1, remembered = false;
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    joint = pointers.size === 1 && event.button === 0 ? nearest(positions(), event.offsetX, event.offsetY, reachOf(event)) : -1;
    remembered = false;
    touched = joint >= 0 && event.pointerType === "touch" && canvas === image;
    if (joint >= 0) select(joint);
  });
  canvas.addEventListener("pointermove", event => {
    const before = pointers.get(event.pointerId), now = [event.offsetX, event.offsetY];
    if (!before) {
      canvas.classList.toggle("on-joint", nearest(positions(), ...now, reachOf(event)) >= 0);
      return;
    }
    if (!frame || !frame.joints) return;
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, position]) => position);
      const length = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
      dragView(dx / 2, dy / 2);
      zoom((now[0] + other[0]) / 2, (now[1] + other[1]) / 2, length(now) / length(before));
    } else if (joint >= 0) {
      if (!dx && !dy) return;
      if (!remembered) remember();
      remembered = true;
      dragJoint(dx, dy, event.shiftKey);
    } else {
      dragView(dx, dy);
    }
    pointers.set(event.pointerId, now);
    update();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => {
    pointers.delete(event.pointerId);
    touched = false;
    update();
  });
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    const distance = event.deltaY || event.deltaX;
    if (event.shiftKey) changeDepth(Math.sign(distance));
    else zoom(event.offsetX, event.offsetY, Math.exp(-distance / 500));
  }, { passive: false });
}

makeDraggable(image, imagePositions, (dx, dy, beyond) => moveSelected(dx / view.scale, dy / view.scale, beyond), (dx, dy) => {
  view.x += dx;
  view.y += dy;
  view.moved = true;
}, zoomAt);

makeDraggable(space, spacePositions, (dx, dy, beyond) => {
  const project = projection(), { u, v, z } = current(), [from, to] = [0, 1].map(step => project(pointAt(u, v, z + step)));
  const [x, y] = [to[0] - from[0], to[1] - from[1]], length = x * x + y * y;  // CSS px per mm along the ray
  if (length > 0.01) moveDepth((dx * x + dy * y) / length, beyond);
}, (dx, dy) => {
  turn.yaw -= dx / 150;
  turn.pitch = Math.min(Math.max(turn.pitch + dy / 150, -1.5), 1.5);
}, (x, y, factor) => {
  turn.zoom = Math.min(Math.max(turn.zoom * factor, 0.3), 10);
  update();
});

image.addEventListener("dblclick", event => {
  if (frame && frame.joints && nearest(imagePositions(), event.offsetX, event.offsetY, 14) < 0) predictAgain(toImage(event.offsetX, event.offsetY));
});
space.addEventListener("dblclick", resetTurn);
strip.addEventListener("click", event => show(Math.min(Math.floor(event.offsetX / strip.clientWidth * frames.length), frames.length - 1)));

const actions = {
  previous: () => show(index - 1),
  next: () => show(index + 1),
  undo: () => frame && frame.past && travel(frame.past, frame.future),
  redo: () => frame && frame.past && travel(frame.future, frame.past),
  reset: () => frame && frame.joints && predictAgain(),
  skip: () => save("skipped"),
  accept: () => save("accepted"),
  nearer: () => changeDepth(-1),
  farther: () => changeDepth(1),
  follow: toggleFollow,
  unknown: () => current() && setState(current().state === "unknown" ? "known" : "unknown"),
  copy: copyPrevious,
  other: () => frame && switchHand(frame.hand === "right" ? "left" : "right"),
  "zoom-in": () => zoomAt(image.clientWidth / 2, image.clientHeight / 2, 1.4),
  "zoom-out": () => zoomAt(image.clientWidth / 2, image.clientHeight / 2, 1 / 1.4),
  fit: () => {
    if (!view.moved) view.whole = !view.whole;
    fit();
    update();
  },
  close: () => dialog.close(),
  help: () => dialog.open ? dialog.close() : dialog.showModal(),
};
const keys = {
  ArrowLeft: "previous", ArrowRight: "next", Enter: "accept", s: "skip", z: "undo", y: "redo", r: "reset", d: "follow", u: "unknown", c: "copy",
  h: "other", f: "fit", "[": "nearer", "]": "farther", "?": "help", "+": "zoom-in", "-": "zoom-out",
};
const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

for (const [name, action] of Object.entries(actions)) $(name) && $(name).addEventListener("click", action);
for (const button of $("states").children) button.addEventListener("click", () => setState(button.dataset.state));
for (const button of $("hands").children) button.addEventListener("click", () => frame && switchHand(button.dataset.hand));
$("number").addEventListener("change", event => show(Math.min(Math.max(Math.round(event.target.value) || 1, 1), frames.length) - 1));
$("depth").addEventListener("change", event => {
  if (!current() || !(event.target.value > 0)) return;
  remember();
  moveDepth(Number(event.target.value) - current().z);
  update();
});
// Buttons do not take the focus from the mouse, so that Enter still accepts the label.
document.addEventListener("mousedown", event => {
  if (event.target.closest("button")) event.preventDefault();
});
document.addEventListener("keydown", event => {
  if (event.altKey || (event.ctrlKey || event.metaKey) && !["z", "y"].includes(event.key.toLowerCase())) return;
  if (event.target.matches("input")) {
    if (event.key === "Enter" || event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === " " && !event.target.matches("button")) {
    event.preventDefault();
    hidden = true;
    return update();
  }
  if (dialog.open && event.key !== "?" || event.target.matches("button") && (event.key === "Enter" || event.key === " ")) return;
  const step = steps[event.key], name = event.ctrlKey && event.shiftKey ? "redo" : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (step && event.shiftKey) {
    if (!current()) return;
    remember();
    moveSelected(...step);
    update();
  } else if (step && step[1]) {
    select(selected + step[1]);
  } else if (name && !(event.repeat && (name === "accept" || name === "skip"))) {
    actions[name]();
  } else {
    return;
  }
  event.preventDefault();
});
document.addEventListener("keyup", event => {
  if (event.key !== " ") return;
  hidden = false;
  update();
});
window.addEventListener("beforeunload", event => {
  if (busy || frames.some(({ unsaved }) => unsaved)) event.preventDefault();
});

/** Makes a button for each joint: a column per finger, from its base to its tip. */
function makeJointButtons() {
  const fingers = ["thumb", "index", "middle", "ring", "pinky"];
  const depth = joint => parents[joint] < 0 ? 0 : 1 + depth(parents[joint]);
  const columns = fingers.map(finger => names.map((name, i) => i).filter(i => names[i].startsWith(`${finger}_`)).sort((a, b) => depth(a) - depth(b)));
  columns.push(names.map((name, i) => i).filter(i => !fingers.some(finger => names[i].startsWith(`${finger}_`))));
  $("joints").style.gridTemplate = `repeat(${1 + Math.max(...columns.map(column => column.length))}, auto) / repeat(${columns.length}, minmax(0, 1fr))`;
  columns.forEach((column, x) => {
    const title = document.createElement("span");
    title.textContent = fingers[x] || "";
    title.style = `grid-column: ${x + 1}; grid-row: 1`;
    $("joints").append(title);
  });
  columns.forEach((column, x) => column.forEach((joint, y) => {
    const button = document.createElement("button"), [finger, part] = names[joint].split("_");
    Object.assign(button, { textContent: part || finger, title: names[joint] });
    button.dataset.joint = joint;
    button.style = `--color: ${colors[joint]}; grid-column: ${x + 1}; grid-row: ${y + 2}`;
    button.addEventListener("click", () => select(joint));
    $("joints").append(button);
  }));
}

makeJointButtons();
resetTurn();
new ResizeObserver(() => {
  fit();
  update();
}).observe(image);
const first = frames.findIndex(one => !isDone(one));
show(first < 0 ? 0 : first);
