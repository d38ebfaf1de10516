// Changes of joints.

function snapshot() {
  const { joints, hand, uvz, center, cube, near, far, reach } = frame;
  return JSON.stringify({ joints, hand, uvz, center, cube, near, far, reach });
}

/** Remembers the joints before a change, so that it can be undone. */
function remember() {
  frame.future.length = 0;
  frame.past.push(snapshot());
  frames[index].unsaved = true;
}

function travel(from, to) {
  if (!from.length) return;
  to.push(snapshot());
  Object.assign(frame, JSON.parse(from.pop()));
  frames[index].unsaved = true;
  update();
}

/** Returns whether a joint is `base` or lies beyond it on its finger. */
const isBeyond = (joint, base) => joint === base || parents[joint] >= 0 && isBeyond(parents[joint], base);

/** Moves the selected joint in the image by px, on its own or with all joints beyond it. */
function moveSelected(du, dv, beyond) {
  if (current().state === "unknown") current().state = "known";
  for (const joint of frame.joints.filter((_, i) => beyond ? isBeyond(i, selected) : i === selected)) {
    [joint.u, joint.v, joint.error] = [joint.u + du, joint.v + dv, 0];
    const surface = joint.follows ? surfaceAt(frame, joint.u, joint.v) : null;
    if (surface !== null) joint.z = surface + joint.behind;
  }
}

/** Changes the depth of the selected joint by mm, on its own or with all joints beyond it. */
function moveDepth(step, beyond) {
  current().state = "known";
  for (const joint of frame.joints.filter((_, i) => beyond ? isBeyond(i, selected) : i === selected)) {
    if (joint.z + step <= 0) continue;
    joint.behind += step;
    [joint.z, joint.error] = [joint.z + step, 0];
  }
}

function changeDepth(step) {
  if (!current()) return;
  remember();
  moveDepth(step);
  update();
}

function toggleFollow() {
  const joint = current();
  if (!joint) return;
  remember();
  joint.follows = !joint.follows;
  const surface = surfaceAt(frame, joint.u, joint.v);
  if (joint.follows && surface !== null) {
    joint.behind = Math.min(Math.max(joint.z - surface, BEHIND_MM[0]), BEHIND_MM[1]);
    joint.z = surface + joint.behind;
  }
  update();
}

function setState(state) {
  if (!current() || current().state === state) return;
  remember();
  current().state = state;
  update();
}

/** Switches the hand. Joints that were not changed are predicted again for the other hand. */
function switchHand(side) {
  if (!frame.joints || frame.hand === side) return;
  hand = side;
  for (const number of kept.keys()) if (number !== index && !frames[number].unsaved) kept.delete(number);
  if (frames[index].unsaved || frame.label) remember();
  else predictAgain();
  frame.hand = side;
  update();
}

/** Replaces the joints by the prediction for the hand, or for the hand at a point. */
async function predictAgain(point) {
  const [asked, side] = [frame, frame.label || frames[index].unsaved ? frame.hand : hand];
  try {
    const again = await loadFrame(index, side, point);
    if (asked !== frame) return;
    if (!again.uvz) throw new Error("No hand was found. Double-click the center of the hand.");
    if (point || frames[index].unsaved || frame.label) remember();
    const { center, cube, near, far, reach, picture, notes, uvz } = again;
    Object.assign(frame, { center, cube, near, far, reach, picture, notes, uvz, hand: again.predictedHand, joints: predictedJoints(again) });
    fit();
    update();
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

/** Replaces the joints by those of the previous frame. */
async function copyPrevious() {
  if (!index || !frame || !frame.joints) return;
  const [asked, previous] = [frame, await keep(index - 1)];
  if (asked !== frame) return;
  if (!previous.joints || !previous.joints.length) return say("The previous frame has no joints.", true);
  remember();
  Object.assign(frame, { joints: previous.joints.map(joint => ({ ...joint, error: 0 })), hand: previous.hand });
  fit();
  update();
}

const current = () => frame && frame.joints && frame.joints[selected];

function select(joint) {
  selected = (joint + names.length) % names.length;
  update();
}
