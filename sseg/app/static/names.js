// Names written on the segments: each in the middle of its largest part, the biggest first, none over another.
const NAME_CELLS = 96, NAME_SHARE = 0.008;           // cells along the longer side; share of the picture that is named

function placeNames(seen, w, h, byId) {              // ids that are painted, w*h -> [{id, u, v}], u, v: 0..1
  const step = Math.max(1, Math.ceil(Math.max(w, h) / NAME_CELLS));
  const columns = Math.max(1, Math.floor(w / step)), rows = Math.max(1, Math.floor(h / step));
  const cells = new Uint16Array(columns * rows), far = new Float32Array(columns * rows), counts = new Map();
  for (let y = 0, o = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, o++) {
      const id = cells[o] = seen[(y * step + (step >> 1)) * w + x * step + (step >> 1)];
      if (id) counts.set(id, (counts.get(id) || 0) + 1);
    }
  }
  const near = (x, y, id, cost) =>                   // distance by way of a neighbour; 0 where another segment begins
    x < 0 || y < 0 || x >= columns || y >= rows || cells[y * columns + x] !== id ? cost / 2 : far[y * columns + x] + cost;
  const sweep = (from, to, by) => {                  // one half of a chamfer distance transform
    for (let y = from[1]; y !== to[1]; y += by) {
      for (let x = from[0]; x !== to[0]; x += by) {
        const id = cells[y * columns + x], o = y * columns + x;
        const way = Math.min(near(x - by, y, id, 1), near(x, y - by, id, 1),
          near(x - by, y - by, id, 1.41), near(x + by, y - by, id, 1.41));
        far[o] = by > 0 ? way : Math.min(far[o], way);
      }
    }
  };
  sweep([0, 0], [columns, rows], 1);
  sweep([columns - 1, rows - 1], [-1, -1], -1);
  const best = new Map();
  for (let o = 0; o < cells.length; o++) {
    if (cells[o] && !(far[o] <= (best.get(cells[o]) || {far: 0}).far)) best.set(cells[o], {far: far[o], o});
  }
  return [...best].filter(([id]) => byId.has(id) && counts.get(id) >= NAME_SHARE * cells.length)
    .sort((p, q) => counts.get(q[0]) - counts.get(p[0]))
    .map(([id, {o}]) => ({id, u: (o % columns + 0.5) / columns, v: (Math.floor(o / columns) + 0.5) / rows}));
}

function writeNames(c, places, W, H) {
  const scale = W / Math.max(1, canvas.getBoundingClientRect().width || W), size = 13 * scale, pad = 5 * scale;
  const taken = [];
  c.globalAlpha = 1;
  c.font = `600 ${size}px system-ui, "Liberation Sans", sans-serif`;
  c.textBaseline = 'middle';
  for (const {id, u, v} of places) {
    const s = shown.byId.get(id), full = s.phrase.split('|')[0].trim();
    const name = full.length > 24 ? full.slice(0, 23) + '…' : full;
    const width = c.measureText(name).width + size + 3 * pad, height = size + 2 * pad;
    const x = Math.min(W - width - 2, Math.max(2, u * W - width / 2));
    const y = [0, -1, 1, -2, 2].map(k => v * H - height / 2 + k * (height + 2))
      .find(y => y >= 0 && y + height <= H && !taken.some(t => x < t.x + t.width && t.x < x + width && y < t.y + t.height
        && t.y < y + height));
    if (y === undefined || width > W) continue;
    taken.push({x, y, width, height});
    c.fillStyle = 'rgb(19 21 25 / .84)';
    c.beginPath();
    c.roundRect(x, y, width, height, height / 2);
    c.fill();
    c.fillStyle = rgb(s.color);
    c.beginPath();
    c.arc(x + pad + size / 2, y + height / 2, size / 2.6, 0, 7);
    c.fill();
    c.fillStyle = '#fff';
    c.fillText(name, x + size + 2 * pad, y + height / 2 + scale);
  }
}
