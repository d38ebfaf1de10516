// Where the surface of the hand and the rays of the camera are.

/** Returns the depth of the hand's surface at a pixel, or at the nearest one within reach; null if there is none. */
function surfaceAt({ width, height, depth, near, far, reach }, u, v) {
  const span = Math.ceil(reach), [column, row] = [Math.round(u), Math.round(v)];
  let [found, least] = [null, reach];
  for (let y = Math.max(0, row - span); y <= Math.min(height - 1, row + span); y++) {
    for (let x = Math.max(0, column - span); x <= Math.min(width - 1, column + span); x++) {
      const value = depth[y * width + x], distance = Math.hypot(x - u, y - v);
      if (distance < least && value >= near && value <= far) [found, least] = [value, distance];
    }
  }
  return found;
}

/** Returns a joint with its distance behind the surface, and whether its depth follows the surface. */
function withSurface(loaded, joint) {
  const surface = surfaceAt(loaded, joint.u, joint.v), behind = surface === null ? NaN : joint.z - surface;
  const follows = behind >= BEHIND_MM[0] && behind <= BEHIND_MM[1];
  return { ...joint, follows, behind: follows ? behind : 0 };
}

/** Returns x/z and y/z at a pixel. */
function rayAt({ rays: { step, columns, rows, x, y } }, u, v) {
  const column = Math.min(Math.max(Math.floor(u / step), 0), columns - 2), row = Math.min(Math.max(Math.floor(v / step), 0), rows - 2);
  const [a, b, i] = [u / step - column, v / step - row, row * columns + column];
  return [x, y].map(grid => (1 - b) * ((1 - a) * grid[i] + a * grid[i + 1]) + b * ((1 - a) * grid[i + columns] + a * grid[i + columns + 1]));
}

function pointAt(u, v, z) {
  const [x, y] = rayAt(frame, u, v);
  return [x * z, y * z, z];
}
