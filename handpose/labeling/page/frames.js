// Which frame is shown, and how its label is saved.

function keep(number) {
  if (!kept.has(number)) {
    const promise = loadFrame(number, hand).catch(error => ({ error: error.message, source: frames[number].source }));
    kept.set(number, promise);
    promise.then(loaded => loaded.error && kept.delete(number));
  }
  return kept.get(number);
}

async function show(number) {
  if (number < 0 || number >= frames.length) return;
  index = number;
  frame = null;
  say("");
  update();
  const waiting = setTimeout(() => say("Predicting the joints ..."), 300);
  const loaded = await keep(number);
  clearTimeout(waiting);
  if (number !== index) return;
  say("");
  frame = loaded;
  fit();
  update();
  if (frame.error) say(frame.error, true);
  else if (!frame.joints.length) say("No hand was found. Double-click the center of the hand, or skip the frame.");
  if (number + 1 < frames.length) keep(number + 1);
  for (const other of kept.keys()) {
    if (kept.size > KEPT_FRAMES && Math.abs(other - index) > 2 && !frames[other].unsaved) kept.delete(other);
  }
}

const isDone = ({ state }) => state === "accepted" || state === "skipped";

/** Shows the next frame that is not done; after the last one, the first. */
function showNext() {
  const order = [...frames.keys()].map(i => (index + 1 + i) % frames.length);
  const next = order.find(i => !isDone(frames[i]));
  if (next !== undefined) return show(next);
  update();
  say(`All ${frames.length} frames are done.`);
}

async function save(state) {
  if (busy || !frame) return;
  const [number, saved] = [index, frame];
  const label = saved.joints && saved.joints.map(({ u, v, z, state }) => state === "unknown" ? null : [u, v, state === "flat" ? null : z]);
  if (state === "accepted" && !(label && label.length)) return say("There is no label to accept. Skip the frame instead.", true);
  if (state === "skipped" && frames[number].state === "accepted" && !saved.confirmed) {
    saved.confirmed = true;
    return say("Skipping deletes the label of this frame. Skip again to confirm.", true);
  }
  const { unsaved } = frames[number];
  busy = true;
  frames[number].unsaved = false;  // changes from now on are not part of what is saved
  update();
  try {
    const answer = await ask(`/frames/${number}`, { source: saved.source, version: saved.version, ...(state === "skipped" ? { skip: true } : { hand: saved.hand, uvz: label }) });
    frames[number].state = state;
    const { version } = await answer.json();
    Object.assign(saved, { version, confirmed: false, label: state === "accepted" ? { hand: saved.hand, uvz: label } : null });
    busy = false;
    if (number === index && !frames[number].unsaved) showNext();
  } catch (error) {
    frames[number].unsaved ||= unsaved;
    say(error.message, true);
  } finally {
    busy = false;
    update();
  }
}
