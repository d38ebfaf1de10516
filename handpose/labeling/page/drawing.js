// The depth image, the 3D view and the bar of frames.

/** Paints the depth image: the hand bright, with shading by the slope of its surface, everything else dark. */
function paintDepth({ width, height, depth, near, far, reach, center, uvz }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
  const values = depth.filter(value => value > 0 && (!center || value >= near && value <= far)).sort();
  let [low, high] = values.length ? [0.01, 0.97].map(share => values[Math.floor(share * (values.length - 1))]) : [0, 1];
  if (uvz) {
    const depths = uvz.map(joint => joint[2]);
    [low, high] = [Math.max(low, Math.min(...depths) - 30), Math.min(high, Math.max(...depths) + 10)];
  }
  for (let i = 0; i < depth.length; i++) {
    const value = depth[i];
    let shade = 0;
    if (value > 0) {
      const ratio = (value - low) / Math.max(high - low, 60);
      shade = ratio <= 1.2 ? 225 - 140 * Math.min(Math.max(ratio, 0), 1) : Math.max(58 - 0.02 * (value - high), 26);
      const slope = (across(i, 2) + across(i, 2 * width)) / 2 * reach / 32;  // reach is 8 mm in px
      shade *= 1 - 0.2 * Math.max(-1, Math.min(1, slope));
    }
    pixels.data[4 * i] = 0.8 * shade;
    pixels.data[4 * i + 1] = 0.92 * shade;
    pixels.data[4 * i + 2] = 1.02 * shade;
    pixels.data[4 * i + 3] = 255;
  }
  function across(i, step) {
    const [before, after] = [depth[i - step], depth[i + step]];
    return before > 0 && after > 0 && Math.abs(after - before) < 40 ? after - before : 0;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Prepares a canvas for drawing in CSS px. */
function begin(canvas) {
  const ratio = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return [context, width, height];
}

function line(context, from, to, color, width, dashes = []) {
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.setLineDash(dashes);
  Object.assign(context, { lineCap: "round", lineWidth: width, strokeStyle: color });
  context.stroke();
  context.setLineDash([]);
}

function disc(context, [x, y], radius, color) {
  context.beginPath();
  context.arc(x, y, Math.max(radius, 0), 0, 7);
  context.fillStyle = color;
  context.fill();
}

/** Draws bones and joints at positions in CSS px, from far to near. Unknown joints are faint, uncertain ones hollow. */
function drawHand(context, positions, distances, size) {
  const order = [...positions.keys()].sort((a, b) => distances[b] - distances[a]);
  const faint = i => i < 0 || frame.joints[i].state === "unknown";
  for (const i of order) {
    if (parents[i] < 0) continue;
    const ends = [positions[parents[i]], positions[i]], unknown = faint(i) || faint(parents[i]);
    context.globalAlpha = unknown ? 0.35 : 1;
    if (!unknown) line(context, ...ends, "#0b0f14cc", size + 2);
    line(context, ...ends, colors[i], size, unknown ? [3, 6] : []);
  }
  for (const i of order) {
    const { state, error } = frame.joints[i];
    context.globalAlpha = state === "unknown" ? 0.5 : 1;
    if (i === selected) disc(context, positions[i], 2.2 * size + 6, "#ffffff");
    disc(context, positions[i], 2.2 * size + 3, "#0b0f14");
    disc(context, positions[i], 2.2 * size + 1, colors[i]);
    if (state !== "known" || error > LARGE_ERROR_MM) disc(context, positions[i], 2.2 * size - 1.2, "#0b0f14");
    if (state === "flat") disc(context, positions[i], size - 0.6, colors[i]);
  }
  context.globalAlpha = 1;
}

function drawImage() {
  const [context, width, height] = begin(image);
  if (!frame || !frame.picture) return;
  context.imageSmoothingEnabled = false;
  context.drawImage(frame.picture, view.x, view.y, frame.width * view.scale, frame.height * view.scale);
  context.strokeStyle = "#26313d";
  context.strokeRect(view.x - 0.5, view.y - 0.5, frame.width * view.scale + 1, frame.height * view.scale + 1);
  if (!frame.joints.length || hidden) return;
  const positions = frame.joints.map(({ u, v }) => toScreen(u, v));
  drawHand(context, positions, frame.joints.map(({ z }) => z), 2.4);
  const [x, y] = positions[selected], text = names[selected];
  context.font = "600 13px system-ui, sans-serif";
  const wide = context.measureText(text).width, left = x + 18 + wide > width ? x - 24 - wide : x + 14;
  context.fillStyle = "#0b0f14b0";
  context.fillRect(left - 4, y - 27, wide + 8, 20);
  context.fillStyle = "#ffffff";
  context.fillText(text, left, y - 12);
  if (touched) drawLoupe(context, width, x, y);
}

/** Draws the surroundings of the selected joint, which a finger covers, enlarged in the upper corner that is farther away. */
function drawLoupe(context, width, x, y) {
  const radius = 62, center = [x < width / 2 ? width - radius - 10 : radius + 10, radius + 50], scale = 2 * view.scale;
  context.save();
  context.beginPath();
  context.arc(...center, radius, 0, 7);
  context.clip();
  context.fillStyle = "#000000";
  context.fillRect(center[0] - radius, center[1] - radius, 2 * radius, 2 * radius);
  context.drawImage(frame.picture, center[0] + 2 * (view.x - x), center[1] + 2 * (view.y - y), frame.width * scale, frame.height * scale);
  line(context, [center[0] - 9, center[1]], [center[0] + 9, center[1]], colors[selected], 1.5);
  line(context, [center[0], center[1] - 9], [center[0], center[1] + 9], colors[selected], 1.5);
  context.restore();
  context.beginPath();
  context.arc(...center, radius, 0, 7);
  context.strokeStyle = "#ffffff";
  context.lineWidth = 2;
  context.stroke();
}

/** Returns a function from a point (mm, camera frame) to x and y in CSS px of the 3D view and its distance in mm. */
function projection() {
  const [cy, sy, cp, sp] = [Math.cos(turn.yaw), Math.sin(turn.yaw), Math.cos(turn.pitch), Math.sin(turn.pitch)];
  const { center, size } = frame.box, [width, height] = [space.clientWidth, space.clientHeight];
  const scale = turn.zoom * 0.78 * Math.min(width, height) / size;
  return ([x, y, z]) => {
    [x, y, z] = [x - center[0], y - center[1], z - center[2]];
    [x, z] = [cy * x + sy * z, cy * z - sy * x];
    [y, z] = [cp * y - sp * z, cp * z + sp * y];
    return [width / 2 + scale * x, height / 2 + scale * y, z];
  };
}

function drawSpace() {
  const [context, width, height] = begin(space);
  if (!frame || !frame.joints || !frame.joints.length) return;
  const project = projection();
  if (frame.cloud === undefined || frame.cloud.of !== frame.picture) frame.cloud = makeCloud();
  context.fillStyle = "#6f8aa566";
  for (const point of frame.cloud.points) {
    const [x, y] = project(point);
    context.fillRect(x, y, 1.6, 1.6);
  }
  const positions = frame.joints.map(({ u, v, z }) => project(pointAt(u, v, z)));
  const { u, v, z } = current();
  line(context, project(pointAt(u, v, z - 60)), project(pointAt(u, v, z + 60)), "#ffffff66", 1, [4, 4]);
  drawHand(context, positions, positions.map(position => position[2]), 1.8);
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = "#8fa1b3";
  context.fillText("Drag a joint to change its depth; drag to turn", 8, height - 8);
  if (turn.yaw === Math.PI / 2 && turn.pitch === 0) context.fillText("← nearer      farther →", width - 140, 16);
}

function makeCloud() {
  const { depth, width, near, far, center, cube, picture } = frame, points = [], inside = [];
  if (center) depth.forEach((value, i) => value >= near && value <= far && inside.push(i));
  const step = Math.ceil(Math.sqrt(inside.length / 6000)) || 1;
  for (const i of inside) {
    const [u, v] = [i % width, Math.floor(i / width)];
    if (u % step || v % step) continue;
    const point = pointAt(u, v, depth[i]);
    if (point.every((value, axis) => Math.abs(value - center[axis]) <= cube / 2)) points.push(point);
  }
  return { points, of: picture };
}

function drawStrip() {
  const [context, width, height] = begin(strip), cell = width / frames.length, gap = cell > 4 ? 1 : 0;
  frames.forEach(({ state, unsaved }, i) => {
    context.fillStyle = unsaved ? "#f2b33d" : { accepted: "#2f9e5b", skipped: "#66717d", unchecked: "#3d5b7a", new: "#26313d" }[state];
    context.fillRect(i * cell, 0, Math.max(cell - gap, 1), height - 4);
  });
  context.fillStyle = "#fff";
  context.fillRect(index * cell, height - 3, Math.max(cell - gap, 3), 3);
}
