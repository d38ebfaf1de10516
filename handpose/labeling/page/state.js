// The state of the page, and what it asks the server for.

const session = JSON.parse(document.getElementById("session").textContent);
const { joints: names, parents, colors, frames } = session;
const $ = id => document.getElementById(id);
const [image, space, strip, dialog] = [$("image"), $("space"), $("strip"), document.querySelector("dialog")];
const BEHIND_MM = [-10, 40];  // distances of a joint behind the surface that is its own skin
const LARGE_ERROR_MM = 20;
const KEPT_FRAMES = 6;

let index = 0;
let frame = null;  // the frame that is shown, see `loadFrame`
let hand = session.hand;  // the hand that frames without a label show
let selected = 0;
let hidden = false;  // whether the joints are hidden
let touched = false;  // whether the selected joint is dragged by touch
let busy = false;  // while a label is being saved
const kept = new Map();  // promises of loaded frames by index
const view = { scale: 1, x: 0, y: 0, whole: false, moved: false };  // CSS px = (image px + 0.5) * scale + offset
const turn = {};  // yaw, pitch and zoom of the 3D view

async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(path, body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw new Error("The server does not answer. Start handpose label again, and repeat.");
  }
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

/** Loads a frame with its joints, which are those of its label or of the prediction for a hand. */
async function loadFrame(number, side, point) {
  const query = new URLSearchParams({ hand: side, ...(point && { u: point[0], v: point[1] }) });
  const info = await (await ask(`/frames/${number}?${query}`)).json();
  if (info.error) throw new Error(info.error);
  const depth = await (await ask(`/frames/${number}/depth`)).arrayBuffer();
  const loaded = { ...info, depth: new Float32Array(depth), past: [], future: [] };
  const half = info.cube / 2, z = info.center && info.center[2];
  [loaded.near, loaded.far] = info.center ? [z - half, z + half] : [1, 1e9];
  loaded.picture = paintDepth(loaded);
  loaded.joints = info.label ? labeledJoints(loaded) : predictedJoints(loaded);
  loaded.predictedHand = info.hand;
  if (info.label) loaded.hand = info.label.hand;
  return loaded;
}

function predictedJoints(loaded) {
  return (loaded.uvz || []).map(([u, v, z], i) => withSurface(loaded, { u, v, z, state: "known", error: loaded.errors[i] }));
}

/** Returns the joints of a record. Unknown joints are where the prediction has them, or at the center of the others. */
function labeledJoints(loaded) {
  const known = loaded.label.uvz.filter(joint => joint);
  const mean = [0, 1].map(axis => known.reduce((sum, joint) => sum + joint[axis], 0) / known.length);
  return loaded.label.uvz.map((joint, i) => {
    const [u, v, z] = loaded.uvz ? loaded.uvz[i] : [...mean, loaded.center ? loaded.center[2] : 500];
    const state = !joint ? "unknown" : joint[2] === null ? "flat" : "known";
    const [labelU, labelV, labelZ] = joint || [u, v, z];
    const error = loaded.state === "unchecked" && loaded.errors ? loaded.errors[i] : 0;
    return withSurface(loaded, { u: labelU, v: labelV, z: labelZ === null ? z : labelZ, state, error });
  });
}
