// Runs once when the component is mounted. Given by Gradio: element, props, watch, trigger, server.
// People's words go in through textContent only; colours go through Number.
const $ = (css, root = element) => root.querySelector(css);
const make = (tag, cls, text) => {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
};
const canvas = $('canvas'), ctx = canvas.getContext('2d'), stage = $('.sv-stage'), tip = $('.sv-tip');
const opacity = $('.sv-opacity'), background = $('.sv-background'), unnamed = $('.sv-unnamed');
const panel = $('.svp'), legend = $('.svp-legend');
const percent = x => (100 * x).toFixed(x < 0.0995 ? 1 : 0) + ' %';
const rgb = color => `rgb(${color.map(Number)})`;
const decimals = x => Number(x).toFixed(2);
const REST = '#8a8f98';

let shown = null;            // what is painted: ids, scores, segments
let named = null;            // the same of the phrases, kept while the unnamed regions are shown
let isolated = new Set(), heat = null, cross = null, turn = 0;

(function place(tries) {     // the panel may live elsewhere on the page
  const slot = props.panel && document.getElementById(props.panel);
  if (slot) slot.replaceChildren(panel);
  else if (props.panel && tries) requestAnimationFrame(() => place(tries - 1));
})(300);

const loadImage = src => new Promise((ok, no) => {
  const image = new Image();
  image.onload = () => ok(image);
  image.onerror = () => no(new Error('A picture did not arrive. Press Segment again.'));
  image.src = src;
});

function bytesOf(image) {
  const c = new OffscreenCanvas(image.naturalWidth, image.naturalHeight).getContext('2d', {willReadFrequently: true});
  c.drawImage(image, 0, 0);
  return c.getImageData(0, 0, image.naturalWidth, image.naturalHeight).data;
}

function unpack(mask, segments) {   // id PNG -> ids (w*h), scores 0..255 (w*h), histogram of scores per id
  const w = mask.naturalWidth, h = mask.naturalHeight, px = bytesOf(mask);
  const ids = new Uint16Array(w * h), scores = new Uint8Array(w * h);
  const slots = Math.max(0, ...segments.map(s => s.id)) + 1, histogram = new Uint32Array(slots * 256);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] = px[4 * i] | px[4 * i + 1] << 8;
    scores[i] = px[4 * i + 2];
    if (id < slots) histogram[id * 256 + scores[i]]++;
  }
  return {w, h, ids, scores, histogram, segments, byId: new Map(segments.map(s => [s.id, s]))};
}

const threshold = () => shown && shown.unnamed ? 0 : Math.ceil(background.value * 2.55 - 1e-9);

function measure(view, id) {        // share of the picture and mean score of one segment at the threshold
  let n = 0, sum = 0;
  for (let s = threshold(); s < 256; s++) { const c = view.histogram[id * 256 + s]; n += c; sum += c * s; }
  return {area: n / view.ids.length, score: n ? sum / n / 255 : 0};
}

// ---- painting -----------------------------------------------------------------------------------------------
let layers = null;                  // canvases at the drawing size: paint, lines

function fitCanvas(image) {
  const k = Math.max(1, Math.ceil(900 / Math.max(image.naturalWidth, image.naturalHeight)));
  const W = canvas.width = image.naturalWidth * k, H = canvas.height = image.naturalHeight * k;
  layers = {k, W, H, paint: new OffscreenCanvas(W, H), lines: new OffscreenCanvas(W, H)};
  stage.style.setProperty('--ratio', W / H);
}

function paint() {
  if (!shown) return;
  const {w, ids, scores, byId} = shown, {k, W, H} = layers, T = threshold();
  const lut = new Uint32Array(65536);
  for (const [id, s] of byId) {
    if (!isolated.size || isolated.has(id)) {
      const [r, g, b] = s.color.map(Number);
      lut[id] = 0xff000000 | b << 16 | g << 8 | r;
    }
  }
  const c = layers.paint.getContext('2d'), fill = c.createImageData(W, H), a = new Uint32Array(fill.data.buffer);
  const l = layers.lines.getContext('2d'), edge = l.createImageData(W, H), e = new Uint32Array(edge.data.buffer);
  const seen = new Uint16Array(w * shown.h);
  for (let i = 0; i < seen.length; i++) seen[i] = scores[i] >= T && lut[ids[i]] ? ids[i] : 0;
  for (let y = 0, o = 0; y < H; y++) {
    const row = (y / k | 0) * w, next = (Math.min(y + 1, H - 1) / k | 0) * w;
    for (let x = 0; x < W; x++, o++) {
      const here = seen[row + (x / k | 0)];
      a[o] = lut[here];
      const right = seen[row + (Math.min(x + 1, W - 1) / k | 0)], below = seen[next + (x / k | 0)];
      if (here !== right || here !== below) e[o] = 0xe6181412;
    }
  }
  c.putImageData(fill, 0, 0);
  l.putImageData(edge, 0, 0);
  draw();
}

function draw() {
  if (!shown) return;
  const {W, H, k} = layers;
  ctx.globalAlpha = 1;
  ctx.drawImage(shown.image, 0, 0, W, H);
  const alpha = opacity.value / 100;
  if (heat) {
    ctx.globalAlpha = 0.4 + 0.6 * alpha;           // near the colours of its scale bar
    ctx.drawImage(heat.map, 0, 0, W, H);
  } else {
    if (isolated.size) {                           // the rest of the picture steps back
      ctx.globalAlpha = 0.45 * Math.min(1, 2 * alpha);
      ctx.fillStyle = '#101114';
      ctx.fillRect(0, 0, W, H);
    }
    ctx.globalAlpha = alpha;
    ctx.drawImage(layers.paint, 0, 0);
    ctx.globalAlpha = Math.min(1, 1.6 * alpha);
    ctx.drawImage(layers.lines, 0, 0);
  }
  if (cross) {
    const x = (cross.x + 0.5) * k, y = (cross.y + 0.5) * k, r = Math.max(W, H) / 40;
    ctx.globalAlpha = 1;
    for (const [color, width] of [['#000', 5], ['#fff', 2]]) {
      ctx.strokeStyle = color;
      ctx.lineWidth = width * Math.max(1, W / 900);
      ctx.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        ctx.moveTo(x + dx * r / 4, y + dy * r / 4);
        ctx.lineTo(x + dx * r, y + dy * r);
      }
      ctx.stroke();
    }
  }
}

let queued = false;                  // one repaint a frame while a slider moves

// ---- values from the server ---------------------------------------------------------------------------------
async function refresh() {
  const mine = ++turn, value = props.value;
  props.stage = '';
  running();
  say('');
  if (!value) return clear();
  try {
    const [image, mask] = await Promise.all([loadImage(value.image.url), loadImage(value.mask.url)]);
    if (mine !== turn) return;                     // a newer answer arrived meanwhile
    named = {...unpack(mask, value.segments), image, value};
  } catch (problem) {
    return say(problem.message);
  }
  cross = null;
  $('.sv-note').textContent = value.note;
  stage.classList.remove('sv-idle');
  fitCanvas(named.image);
  show(named);
  renderUnknown(value.segments);
  renderCode();
}

function show(view) {                              // the phrases' segments or the unnamed ones
  shown = view;
  isolated.clear();
  heat = null;
  unnamed.setAttribute('aria-pressed', String(Boolean(view.unnamed)));
  background.disabled = Boolean(view.unnamed);
  renderScale();
  renderPixel(null);
  renderLegend();
  paint();
}

function clear() {
  shown = named = heat = cross = null;
  canvas.width = canvas.height = 0;
  stage.classList.add('sv-idle');
  $('.sv-note').textContent = '';
  legend.replaceChildren();
  renderUnknown([]);
  renderPixel(null);
  renderScale();
  renderCode();
  $('.svp-absent', panel).textContent = 'Nothing yet.';
}

function say(sentence) {
  const p = $('.sv-error');
  p.textContent = sentence;
  p.hidden = !sentence;
}

async function ask(what, question) {               // a server function's answer, or null after saying why not
  const value = named && named.value, mine = turn;
  if (!value) return null;
  let answer;
  try {
    answer = await server[what]({key: value.key, words: value.words, ...question});
  } catch {
    answer = {error: 'The server did not answer. Is it still running? Try again.'};
  }
  if (mine !== turn) return null;
  say(answer.error || '');
  return answer.error ? null : answer;
}

async function toggleUnnamed() {
  if (!named) return;
  if (shown.unnamed) return show(named);
  if (!named.regions) {
    const answer = await ask('unnamed', {});
    if (!answer) return;
    named.regions = {...unpack(await loadImage(answer.mask), answer.segments), image: named.image, unnamed: true};
  }
  show(named.regions);
}

// ---- pointer and keys ---------------------------------------------------------------------------------------
function at(event) {
  const r = canvas.getBoundingClientRect();
  const f = (p, a, n, m) => Math.min(m - 1, Math.max(0, Math.floor((p - a) / n * m)));
  return {x: f(event.clientX, r.left, r.width, shown.w), y: f(event.clientY, r.top, r.height, shown.h)};
}

function read({x, y}) {
  const i = y * shown.w + x, s = shown.byId.get(shown.ids[i]), score = shown.scores[i];
  return {s, score: score / 255, painted: Boolean(s) && score >= threshold()};
}

function pointAt(place) {
  const {s, score, painted} = read(place), r = canvas.getBoundingClientRect(), box = stage.getBoundingClientRect();
  const x = r.left - box.left + (place.x + 0.5) / shown.w * r.width;
  const y = r.top - box.top + (place.y + 0.5) / shown.h * r.height;
  tip.replaceChildren(make('b', '', painted ? s.phrase : 'background'),
    document.createTextNode(painted ? ` ${percent(score)}` : s ? `, best ${s.phrase} ${percent(score)}` : ''));
  tip.hidden = false;
  tip.style.left = Math.max(4, Math.min(x + 14, box.width - tip.offsetWidth - 4)) + 'px';
  tip.style.top = (y + 14 + tip.offsetHeight > box.height ? y - 14 - tip.offsetHeight : y + 14) + 'px';
}

function isolate(id) {
  heat = null;
  renderScale();
  if (isolated.has(id)) isolated.delete(id); else { isolated.clear(); isolated.add(id); }
  markPressed();
  paint();
}

function explain(place) {
  cross = place;
  draw();
  explainPixel(place);
}

let pressed = 0, long = false;
canvas.onpointermove = e => { if (shown) pointAt(at(e)); };
canvas.onpointerleave = () => { tip.hidden = true; clearTimeout(pressed); };
canvas.onpointerdown = e => {                      // a long touch explains without isolating
  long = false;
  clearTimeout(pressed);
  if (!shown || e.pointerType !== 'touch') return;
  const place = at(e);
  pressed = setTimeout(() => { long = true; pointAt(place); explain(place); }, 500);
};
canvas.onpointerup = canvas.onpointercancel = () => clearTimeout(pressed);
canvas.oncontextmenu = e => { if (long) e.preventDefault(); };
canvas.onclick = e => {
  if (!shown || long) return;
  const place = at(e), {s, painted} = read(place);
  if (painted) isolate(s.id); else if (isolated.size) { isolated.clear(); markPressed(); paint(); }
  explain(place);
};
canvas.onkeydown = e => {
  if (!shown) return;
  const step = e.shiftKey ? 10 : 1, size = Math.max(1, Math.round(Math.max(shown.w, shown.h) / 200)) * step;
  const move = {ArrowLeft: [-size, 0], ArrowRight: [size, 0], ArrowUp: [0, -size], ArrowDown: [0, size]}[e.key];
  const limit = (v, n) => Math.min(n - 1, Math.max(0, v));
  if (move) {
    cross = cross ? {x: limit(cross.x + move[0], shown.w), y: limit(cross.y + move[1], shown.h)}
      : {x: shown.w >> 1, y: shown.h >> 1};
    draw();
    pointAt(cross);
  } else if (e.key === 'Enter' && cross) {
    explainPixel(cross);
  } else if (e.key === ' ' && cross && read(cross).painted) {
    isolate(read(cross).s.id);
  } else if (e.key === 'Escape') {
    cross = null;
    tip.hidden = true;
    isolated.clear();
    heat = null;
    renderScale();
    markPressed();
    paint();
  } else return;
  e.preventDefault();
};

opacity.oninput = () => { opacity.nextElementSibling.textContent = opacity.value + ' %'; draw(); };
background.oninput = () => {
  background.nextElementSibling.textContent = decimals(background.value / 100);
  renderCode();
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => { queued = false; paint(); if (shown) renderAreas(); });
};
background.onchange = () => { if (shown) sortLegend(); };   // when the slider is let go: rows do not jump under way
unnamed.onclick = toggleUnnamed;

function running() {
  const box = $('.sv-run');
  box.hidden = !props.stage;
  $('span', box).textContent = props.stage || '';
  element.classList.toggle('sv-busy', Boolean(props.stage));
  panel.classList.toggle('sv-busy', Boolean(props.stage));
}
$('.sv-run button').onclick = () => {
  trigger('halt');
  $('.sv-note').textContent = 'Stopped: this is still the answer before. Press Segment to go on.';
};
watch('value', refresh);
watch('stage', running);
watch('error', () => say(props.error || ''));
clear();
running();
refresh();
