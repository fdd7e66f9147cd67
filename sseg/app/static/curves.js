// Two curves over K, drawn at the size that they are shown in, in the colours of the page.
const drawn = (tag, attributes, text) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
};
const HEIGHT = 230, LEFT = 60, RIGHT = 12, TOP = 12, BOTTOM = 42;
const CURVES = [
  {key: 'unexplained', name: 'Elbow', axis: 'unexplained share',
    read: 'What the clusters leave unexplained. More clusters always leave less; where the fall slows down, they begin '
      + 'to divide things that belong together.'},
  {key: 'silhouette', name: 'Silhouette', axis: 'silhouette',
    read: 'How much nearer patches are to their own cluster than to the next: 1 is far apart, 0 is no border at all. '
      + 'A peak is a K that suits this picture.'},
];

const questionOf = division => `${division.patches}/${division.seed}`;   // the present K is only marked
const presentK = () => window.ssegDivision && window.ssegDivision.k;
const redraw = () => { if (props.value) render(props.value); };

function render(value) {
  $('.st-body').replaceChildren(...CURVES.map(curve => chart(curve, value)));
}

function range(key, points) {                      // lowest and highest tick, and the step between
  if (key === 'unexplained') return [0, 1, 0.25];
  const values = points.map(point => point[key]), step = 0.1;
  return [Math.floor(Math.min(0, ...values) / step) * step, Math.ceil(Math.max(step, ...values) / step) * step, step];
}

function chart(curve, value) {
  const figure = make('figure', 'st-curve'), points = value.points.filter(point => point[curve.key] !== null);
  const plot = plotOf(curve, value, points), note = make('p', 'st-value');
  figure.style.width = plot.width + 'px';
  const rest = () => {
    const now = points.find(point => point.k === presentK()), best = curve.key === 'silhouette' && value.best;
    const parts = [now && `Now: K = ${now.k}, ${decimals(now[curve.key])}.`, best && `Best silhouette: K = ${best}.`];
    note.textContent = parts.filter(Boolean).join(' ');
  };
  const nearest = e => {
    const at = e.clientX - plot.svg.getBoundingClientRect().left;
    return points.reduce((p, q) => Math.abs(plot.x(q.k) - at) < Math.abs(plot.x(p.k) - at) ? q : p, points[0]);
  };
  plot.svg.addEventListener('pointermove', e => {
    const point = nearest(e);
    if (point) note.textContent = `K = ${point.k}: ${decimals(point[curve.key])}. Click to take this K.`;
  });
  plot.svg.addEventListener('pointerleave', rest);
  plot.svg.addEventListener('click', e => {
    const point = nearest(e);
    if (point) trigger('choose', {k: point.k});
  });
  rest();
  figure.append(make('h3', '', curve.name), plot.svg, note, make('figcaption', 'svp-hint', curve.read));
  return figure;
}

function plotOf({key, axis}, value, points) {      // the drawing, its width, and where a K lies in it
  const width = Math.max(240, figureWidth()), [low, high, step] = range(key, points);
  const right = width - RIGHT, bottom = HEIGHT - BOTTOM;
  const x = k => LEFT + (k - value.from) / (value.to - value.from) * (right - LEFT);
  const y = v => bottom - (v - low) / (high - low) * (bottom - TOP);
  const said = points.map(point => `${point.k}: ${decimals(point[key])}`).join(', ');
  const svg = drawn('svg', {width, height: HEIGHT, role: 'img', 'aria-label': `${axis} over K. ${said}`});
  const write = (cls, place, words) => svg.append(drawn('text', {class: cls, ...place}, words));
  for (let i = 0, v = low; v <= high + 1e-9; v = low + ++i * step) {
    svg.append(drawn('line', {class: 'st-grid', x1: LEFT, x2: right, y1: y(v), y2: y(v)}));
    write('st-tick', {x: LEFT - 7, y: y(v) + 4, 'text-anchor': 'end'}, v.toFixed(step < 0.2 ? 1 : 2));
  }
  for (let k = value.from; k <= value.to; k += width < 420 ? 4 : 2) {
    write('st-tick', {x: x(k), y: bottom + 17, 'text-anchor': 'middle'}, k);
  }
  write('st-axis', {x: (LEFT + right) / 2, y: HEIGHT - 6, 'text-anchor': 'middle'}, 'K, number of clusters');
  const turned = `translate(12 ${(bottom + TOP) / 2}) rotate(-90)`;
  write('st-axis', {transform: turned, 'text-anchor': 'middle'}, axis);
  const now = presentK();
  if (now) svg.append(drawn('line', {class: 'st-now', x1: x(now), x2: x(now), y1: TOP, y2: bottom}));
  const path = points.map(point => `${x(point.k)},${y(point[key])}`).join(' ');
  svg.append(drawn('polyline', {class: 'st-line', points: path}));
  for (const point of points) {
    const best = key === 'silhouette' && point.k === value.best, cls = best ? 'st-dot st-best' : 'st-dot';
    svg.append(drawn('circle', {class: cls, cx: x(point.k), cy: y(point[key]), r: best ? 6 : 3.5}));
  }
  return {svg, width, x};
}

function figureWidth() {                           // two beside each other, or one below the other
  const all = $('.st-body').clientWidth || element.clientWidth;
  return Math.floor(all >= 700 ? (all - 24) / 2 : all);
}

let widthBefore = 0;
new ResizeObserver(() => {
  const width = figureWidth();
  if (width !== widthBefore) redraw();
  widthBefore = width;
}).observe(element);
