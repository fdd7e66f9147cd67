// The comparison viewer. Everything but a new picture or new words is answered here.
const VIEWS = {
  wipe: ['Wipe', 'Left of the line is A, right of it B. Drag the line, or move it with the arrow keys.'],
  a: ['A', 'What A finds.'],
  b: ['B', 'What B finds.'],
  blend: ['Blend', 'Both at once; the slider says how much of B. Where the colours stay pure, they agree.'],
  difference: ['Difference', 'Red: A and B say different things.'],
  corrections: ['Mended, broken', 'Green: B mended what A had wrong. Red: B broke what A had right.'],
};
const LEAST = 0.005;                 // share of the picture below which a category is only counted
const RED = [220, 50, 47], GREEN = [20, 150, 70];
const canvas = $('.sv-stage canvas'), stage = $('.sv-stage');
const mix = $('.cp-mix input'), opacity = $('.cp-opacity');
let view = 'wipe', shown = null, turn = 0;

const idsOf = bytes => Uint16Array.from({length: bytes.length / 4}, (_, i) => bytes[4 * i] | bytes[4 * i + 1] << 8);

async function show(value) {
  const mine = ++turn, files = ['image', 'mask_a', 'mask_b', 'corrections'];
  const pictures = await Promise.all(files.map(name => loadImage(value[name].url)));
  if (mine !== turn) return;
  const [image, ...masks] = pictures, [w, h] = [image.naturalWidth, image.naturalHeight];
  const [a, b, corrections] = masks.map(mask => idsOf(bytesOf(mask)));
  shown = {value, pixels: bytesOf(image), a, b, corrections, w, h, layers: {}};
  canvas.width = w;
  canvas.height = h;
  stage.style.setProperty('--ratio', w / h);
  if (view === 'corrections' && !value.report.miou) view = 'wipe';
  renderAll();
}

function renderAll() {
  stage.classList.toggle('sv-idle', !shown);
  $('.sv-note').textContent = shown ? shown.value.note : '';
  renderViews();
  paint();
  renderPanel();
}

// ---- the picture ------------------------------------------------------------------------------------------------
function layer(name) {                             // an off-screen picture with colours over it, made once
  if (shown.layers[name]) return shown.layers[name];
  const {pixels, w, h, value} = shown, made = new OffscreenCanvas(w, h), c = made.getContext('2d');
  const out = new ImageData(new Uint8ClampedArray(pixels), w, h), d = out.data, k = opacity.value / 100;
  const ids = name === 'difference' ? Uint16Array.from(shown.a, (id, i) => id === shown.b[i] ? 0 : 1) : shown[name];
  const colours = {difference: [RED], corrections: [GREEN, RED]}[name] || value.categories.map(one => one.color);
  const grey = name === 'difference' || name === 'corrections';
  for (let i = 0, p = 0; i < ids.length; i++, p += 4) {
    if (grey) d[p] = d[p + 1] = d[p + 2] = 0.3 * d[p] + 0.6 * d[p + 1] + 0.1 * d[p + 2];
    const edge = !grey && ((i % w < w - 1 && ids[i] !== ids[i + 1]) || (i + w < ids.length && ids[i] !== ids[i + w]));
    const colour = edge ? [255, 255, 255] : ids[i] && colours[ids[i] - 1], m = edge ? 1 : k;
    if (colour) for (let j = 0; j < 3; j++) d[p + j] = d[p + j] * (1 - m) + Number(colour[j]) * m;
  }
  c.putImageData(out, 0, 0);
  return shown.layers[name] = made;
}

function paint() {
  const slides = view === 'wipe' || view === 'blend', share = mix.value / 100;
  $('.cp-mix').hidden = !slides;
  $('.cp-mix span').textContent = view === 'blend' ? 'B' : 'Wipe';
  for (const one of [mix, opacity]) one.nextElementSibling.textContent = `${one.value} %`;
  canvas.setAttribute('aria-valuenow', mix.value);
  canvas.setAttribute('aria-valuetext', `${VIEWS[view][0]}, ${mix.value} %`);
  for (const side of ['a', 'b']) {
    const tag = $(`.cp-${side}`);
    tag.hidden = !shown || (view !== 'wipe' && view !== side);
    tag.textContent = shown ? `${side.toUpperCase()}: ${shown.value.report[side]}` : '';
  }
  if (!shown) return;
  const c = canvas.getContext('2d'), {w, h} = shown;
  if (!slides) return void c.drawImage(layer(view), 0, 0);
  c.drawImage(layer('a'), 0, 0);
  if (view === 'blend') {
    c.globalAlpha = share;
    c.drawImage(layer('b'), 0, 0);
    c.globalAlpha = 1;
    return;
  }
  const x = Math.round(share * w), line = Math.max(2, w / 250);
  if (x < w) c.drawImage(layer('b'), x, 0, w - x, h, x, 0, w - x, h);
  c.fillStyle = '#131519';
  c.fillRect(x - line, 0, 2 * line, h);
  c.fillStyle = '#fff';
  c.fillRect(x - line / 2, 0, line, h);
}

function renderViews() {
  const views = Object.keys(VIEWS).filter(one => one !== 'corrections' || shown?.value.report.miou);
  $('.cp-views').replaceChildren(...views.map(one => {
    const button = make('button', '', VIEWS[one][0]);
    button.type = 'button';
    button.setAttribute('aria-pressed', one === view);
    button.onclick = () => {
      view = one;
      renderViews();
      paint();
      $(`.cp-views button:nth-child(${views.indexOf(one) + 1})`).focus();
    };
    return button;
  }));
  $('.cp-read').textContent = shown ? VIEWS[view][1] : '';
}

function move(value) {
  mix.value = Math.max(0, Math.min(100, value));
  paint();
}

const STEPS = {ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10};
canvas.onkeydown = e => {
  const to = {Home: 0, End: 100}[e.key] ?? (e.key in STEPS ? Number(mix.value) + STEPS[e.key] : null);
  if (to === null) return;
  e.preventDefault();
  move(to);
};
const follow = e => {
  const box = canvas.getBoundingClientRect();
  if (view === 'wipe' && shown) move(100 * (e.clientX - box.left) / box.width);
};
canvas.onpointerdown = e => { canvas.setPointerCapture(e.pointerId); follow(e); };
canvas.onpointermove = e => { if (canvas.hasPointerCapture(e.pointerId)) follow(e); };
mix.oninput = paint;
opacity.oninput = () => {
  if (shown) shown.layers = {};
  paint();
};

// ---- the figures -------------------------------------------------------------------------------------------------
const nameOf = name => name === null ? 'background' : name.split('|')[0];  // of synonyms the first
const share = x => x === null ? '–' : percent(x);
const signed = x => (x > 0 ? '+' : x < 0 ? '−' : '') + percent(Math.abs(x));

function number(value, label) {
  const p = make('p', 'st-number');
  p.append(make('b', '', value), document.createTextNode(' ' + label));
  return p;
}

function named(name) {                             // a cell: the category's colour and name
  const place = shown.value.categories.findIndex(one => one.name === name);
  return [{name: nameOf(name), color: place < 0 ? [150, 150, 150] : shown.value.categories[place].color}];
}

function renderPanel() {
  const panel = document.getElementById('sseg-compared');
  if (!panel) return;
  if (!shown) return panel.replaceChildren();
  const {report} = shown.value, parts = [number(percent(report.agreement), 'of the pixels have the same label')];
  parts.push(make('p', 'svp-hint', `Outlines agree to ${percent(report.boundary_agreement)} (F measure, near: 0.75 % of the diagonal).`));
  if (report.flips.length) {
    const list = make('ul', 'cp-flips');
    list.append(...report.flips.map(one => make('li', '', `${percent(one.share_of_from)} of ${nameOf(one.from)} became ${nameOf(one.to)}`)));
    parts.push(make('h3', '', 'Changed most'), list);
  }
  if (report.miou) {
    const {a, b, classes} = report.miou;
    parts.push(number(`${share(a)} → ${share(b)}`, 'mIoU against the true mask'));
    parts.push(make('p', 'svp-hint', `B mended ${share(report.mended)} of the pixels and broke ${share(report.broken)}.`));
    parts.push(table(['category', 'IoU of A', 'IoU of B'], classes.map(one => [named(one.name), share(one.a), share(one.b)])));
  }
  const areas = report.areas.filter(one => Math.max(one.a, one.b) >= LEAST);
  areas.sort((one, other) => Math.max(other.a, other.b) - Math.max(one.a, one.b));
  parts.push(make('h3', '', 'Share of the picture'));
  parts.push(table(['category', 'A', 'B', 'change'],
    areas.map(one => [named(one.name), percent(one.a), percent(one.b), signed(one.change)])));
  const rest = report.areas.length - areas.length;
  if (rest) parts.push(make('p', 'svp-hint', `${rest} more have less than ${percent(LEAST)}.`));
  const box = make('div', 'svp st');
  box.append(...parts);
  panel.replaceChildren(box);
}

const announce = () => running(stage);
$('.sv-run button').onclick = () => trigger('halt');
watch('value', () => {
  props.stage = '';
  announce();
  say('');
  if (props.value) return void show(props.value).catch(error => say(error.message));
  turn++;
  shown = null;
  renderAll();
});
watch('stage', announce);
watch('error', () => say(props.error || ''));
renderAll();
announce();
if (props.value) show(props.value).catch(error => say(error.message));
