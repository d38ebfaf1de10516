// The texts and buttons.

function writePanel() {
  const joint = current(), done = frames.filter(({ state }) => state === "accepted").length;
  const skipped = frames.filter(({ state }) => state === "skipped").length;
  $("number").value = index + 1;
  $("number").max = $("total").textContent = frames.length;
  $("tally").textContent = `${done} accepted` + (skipped ? `, ${skipped} skipped` : "");
  $("source").textContent = `\u200e${frames[index].source}`;
  const states = { accepted: "", skipped: "Skipped. ", unchecked: "From the label file, not checked by a person. ", new: "" };
  $("notes").textContent = frame && frame.notes ? [states[frames[index].state], ...frame.notes].filter(Boolean).join("\n") : "";
  $("previous").disabled = index === 0;
  $("next").disabled = index === frames.length - 1;
  $("accept").disabled = !joint || busy;
  $("skip").disabled = !frame || busy;
  $("undo").disabled = !frame || !frame.past || !frame.past.length;
  $("reset").disabled = !frame || !frame.joints;
  for (const id of ["depth", "nearer", "farther", "follow"]) $(id).disabled = !joint;
  for (const button of $("states").children) {
    button.disabled = !joint;
    button.setAttribute("aria-pressed", Boolean(joint) && button.dataset.state === joint.state);
  }
  for (const button of $("hands").children) button.setAttribute("aria-pressed", Boolean(frame) && button.dataset.hand === frame.hand);
  $("joints").querySelectorAll("button").forEach(button => {
    const own = Number(button.dataset.joint), state = joint && frame.joints[own].state;
    button.className = state || "";
    button.setAttribute("aria-pressed", own === selected);
  });
  $("joint").textContent = names[selected];
  $("dot").style.background = colors[selected];
  $("error").textContent = joint && joint.error > LARGE_ERROR_MM ? `expected error ${joint.error.toFixed(0)} mm` : "";
  $("pixel").textContent = joint ? `${joint.u.toFixed(1)}, ${joint.v.toFixed(1)} px` : "";
  $("xyz").textContent = joint ? `${pointAt(joint.u, joint.v, joint.z).map(value => value.toFixed(1)).join(", ")} mm` : "";
  $("bone").textContent = joint ? boneText() : "";
  if (document.activeElement !== $("depth")) $("depth").value = joint ? joint.z.toFixed(1) : "";
  $("follow").setAttribute("aria-pressed", Boolean(joint) && joint.follows);
  $("follow").textContent = joint && joint.follows ? `Follow, ${Math.abs(joint.behind).toFixed(1)} mm ${joint.behind < 0 ? "in front" : "behind"}` : "Fixed depth";
}

/** Returns the distance of the selected joint to its parent, and the predicted one. */
function boneText() {
  const parent = parents[selected];
  if (parent < 0) return "–";
  const length = joints => {
    const [from, to] = [joints[parent], joints[selected]].map(position => pointAt(...position));
    return Math.hypot(...to.map((value, axis) => value - from[axis])).toFixed(1);
  };
  return `${length(frame.joints.map(({ u, v, z }) => [u, v, z]))} mm${frame.uvz ? `, predicted ${length(frame.uvz)} mm` : ""}`;
}

let requested = 0;
/** Shows the current state. */
function update() {
  writePanel();
  if (!requested) requested = requestAnimationFrame(() => {
    requested = 0;
    drawImage();
    drawSpace();
    drawStrip();
  });
}

function say(text, isError = false) {
  $("message").textContent = text;
  $("message").className = isError ? "error" : "";
}
