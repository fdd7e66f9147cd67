// The picture with its segments painted over it; pointer and keys. What stands beside it, and what a click asks, is the
// script of the tab, which defines: threshold, describe, subject, pick, whenNew, whenShown, whenCleared, REST_NOTE.
const canvas = $('canvas'), ctx = canvas.getContext('2d'), stage = $('.sv-stage'), tip = $('.sv-tip');
const opacity = $('.sv-opacity'), names = $('.sv-names'), panel = $('.svp'), legend = $('.svp-legend');

let shown = null;            // what is painted: ids, scores, segments; fine: the same with finer outlines, to paint
let named = null;            // the answer itself, kept while something else is shown
let isolated = new Set(), heat = null, cross = null, guess = null, turn = 0, newest = 0;

function place(part, id, tries = 300) {            // parts may live elsewhere on the page
  const slot = id && document.getElementById(id);
  if (slot) slot.replaceChildren(part);
  else if (id && tries) requestAnimationFrame(() => place(part, id, tries - 1));
}

for (const control of element.querySelectorAll('.sv-controls > [data-control]')) {
  if (!setup.controls.includes(control.dataset.control)) control.remove();
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

function measure(view, id) {        // share of the picture and mean score of one segment at the threshold
  let n = 0, sum = 0;
  for (let s = threshold(); s < 256; s++) { const c = view.histogram[id * 256 + s]; n += c; sum += c * s; }
  return {area: n / view.ids.length, score: n ? sum / n / 255 : 0};
}

// ---- painting -----------------------------------------------------------------------------------------------
let layers = null;                  // canvases at the drawing size: paint, lines; names: what is written where

function fitCanvas(image) {
  const k = Math.max(1, Math.ceil(900 / Math.max(image.naturalWidth, image.naturalHeight)));
  const W = canvas.width = image.naturalWidth * k, H = canvas.height = image.naturalHeight * k;
  layers = {W, H, paint: new OffscreenCanvas(W, H), lines: new OffscreenCanvas(W, H)};
  stage.style.setProperty('--ratio', W / H);
}

function paint() {                  // the ids may be coarser than the picture: each is enlarged to its rectangle
  if (!shown) return;
  const {w, h, ids, scores, byId} = shown.fine || shown, {W, H} = layers;
  guess = bestGuess(shown);
  const T = guess ? guess.level : threshold();
  const lut = new Uint32Array(65536);
  for (const [id, s] of byId) {
    if (!isolated.size || isolated.has(id)) {
      const [r, g, b] = s.color.map(Number);
      lut[id] = 0xff000000 | b << 16 | g << 8 | r;
    }
  }
  const c = layers.paint.getContext('2d'), fill = c.createImageData(W, H), a = new Uint32Array(fill.data.buffer);
  const l = layers.lines.getContext('2d'), edge = l.createImageData(W, H), e = new Uint32Array(edge.data.buffer);
  const seen = new Uint16Array(w * h);
  for (let i = 0; i < seen.length; i++) seen[i] = scores[i] >= T && lut[ids[i]] ? ids[i] : 0;
  const column = Uint32Array.from({length: W + 1}, (_, x) => Math.min(x, W - 1) * w / W | 0);
  for (let y = 0, o = 0; y < H; y++) {
    const row = (y * h / H | 0) * w, next = (Math.min(y + 1, H - 1) * h / H | 0) * w;
    for (let x = 0; x < W; x++, o++) {
      const here = seen[row + column[x]];
      a[o] = lut[here];
      if (here !== seen[row + column[x + 1]] || here !== seen[next + column[x]]) e[o] = 0xe6181412;
    }
  }
  c.putImageData(fill, 0, 0);
  l.putImageData(edge, 0, 0);
  layers.names = setup.controls.includes('names') ? placeNames(seen, w, h, byId) : [];
  draw();
}

function bestGuess(view) {          // where nothing reaches the threshold: {level, id} of the best hundredth, or null
  const {histogram, ids} = view, T = threshold(), counts = new Uint32Array(256);
  if (!view.segments.length) return null;
  for (const {id} of view.segments) {
    for (let s = 0; s < 256; s++) counts[s] += histogram[id * 256 + s];
  }
  for (let s = T; s < 256; s++) if (counts[s]) return null;
  let level = 255, n = counts[255];
  while (level > 1 && n < ids.length / 100) n += counts[--level];
  const above = id => histogram.subarray(id * 256 + level, (id + 1) * 256).reduce((sum, one) => sum + one, 0);
  return {level, id: view.segments.map(s => s.id).sort((p, q) => above(q) - above(p))[0]};
}

function draw() {
  if (!shown) return;
  const {W, H} = layers;
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
    ctx.globalAlpha = guess ? 0.45 * alpha : alpha;
    ctx.drawImage(layers.paint, 0, 0);
    ctx.globalAlpha = Math.min(1, 1.6 * alpha);
    ctx.drawImage(layers.lines, 0, 0);
    if (layers.names.length && written()) writeNames(ctx, layers.names, W, H);
  }
  if (cross) drawCross(ctx, (cross.x + 0.5) / shown.w * W, (cross.y + 0.5) / shown.h * H, Math.max(W, H));
}

function drawCross(c, x, y, side) {
  const r = side / 40;
  c.globalAlpha = 1;
  for (const [color, width] of [['#000', 5], ['#fff', 2]]) {
    c.strokeStyle = color;
    c.lineWidth = width * Math.max(1, side / 900);
    c.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      c.moveTo(x + dx * r / 4, y + dy * r / 4);
      c.lineTo(x + dx * r, y + dy * r);
    }
    c.stroke();
  }
}

// ---- values from the server ---------------------------------------------------------------------------------
async function refresh() {
  const value = props.value, late = value && newest - value.run;
  if (late > 0 && late < 50) return;               // a gesture before the last one; far behind: the server began anew
  const mine = ++turn;
  if (value) newest = value.run;
  props.stage = '';
  announce();
  say('');
  if (!value) return clear();
  try {
    const same = named && named.value.image.url === value.image.url;
    const pictures = [same ? named.image : loadImage(value.image.url), loadImage(value.mask.url)];
    const [image, mask] = await Promise.all(pictures);
    if (mine !== turn) return;                     // a newer answer arrived meanwhile
    named = {...unpack(mask, value.segments), image, value};
  } catch (problem) {
    return say(problem.message);
  }
  $('.sv-note').textContent = value.note;
  stage.classList.remove('sv-idle');
  fitCanvas(named.image);
  whenNew(value);
  show(named);
}

function show(view) {                              // the answer's segments or others of the same picture
  shown = view;
  isolated.clear();
  heat = null;
  tip.hidden = true;
  guess = bestGuess(view);
  whenShown(view);
  paint();
}

function clear() {
  shown = named = heat = cross = null;
  canvas.width = canvas.height = 0;
  stage.classList.add('sv-idle');
  tip.hidden = true;
  $('.sv-note').textContent = '';
  legend.replaceChildren();
  whenCleared();
}

async function ask(what, question) {               // a server function's answer, or null after saying why not
  const value = named && named.value, mine = turn;
  if (!value) return null;
  let answer;
  try {
    answer = await server[what]({...subject(value), ...question});
  } catch {
    answer = {error: 'The server did not answer. Is it still running? Try again.'};
  }
  if (mine !== turn) return null;
  say(answer.error || '');
  return answer.error ? null : answer;
}

// ---- pointer and keys ---------------------------------------------------------------------------------------
const placeOf = (share, n) => Math.min(n - 1, Math.max(0, Math.floor(share * n)));

function at(event, target = canvas) {              // place in the ids, and u, v: where in the picture, 0..1
  const r = target.getBoundingClientRect();
  const u = (event.clientX - r.left) / r.width, v = (event.clientY - r.top) / r.height;
  return {x: placeOf(u, shown.w), y: placeOf(v, shown.h), u, v};
}

function read({x, y, u = (x + 0.5) / shown.w, v = (y + 0.5) / shown.h}) {     // what is painted there
  const {w, h, ids, scores, byId} = shown.fine || shown, i = placeOf(v, h) * w + placeOf(u, w);
  const s = byId.get(ids[i]), score = scores[i];
  return {s, score: score / 255, painted: Boolean(s) && score >= threshold()};
}

function pointAt(place) {
  const r = canvas.getBoundingClientRect(), box = stage.getBoundingClientRect(), [name, facts] = describe(read(place));
  const x = r.left - box.left + (place.x + 0.5) / shown.w * r.width;
  const y = r.top - box.top + (place.y + 0.5) / shown.h * r.height;
  tip.replaceChildren(make('b', '', name), document.createTextNode(facts));
  tip.hidden = false;
  tip.style.left = Math.max(4, Math.min(x + 14, box.width - tip.offsetWidth - 4)) + 'px';
  tip.style.top = (y + 14 + tip.offsetHeight > box.height ? y - 14 - tip.offsetHeight : y + 14) + 'px';
}

const written = () => names.getAttribute('aria-pressed') === 'true';

function isolate(id) {
  leaveHeat();
  if (isolated.has(id)) isolated.delete(id); else { isolated.clear(); isolated.add(id); }
  markPressed();
  paint();
}

function showAll() {
  isolated.clear();
  leaveHeat();
  markPressed();
  paint();
}

function explain(place) {
  cross = place;
  draw();
  pick(place);
}

function explainStrongest(id) {                    // of the segment's pixels, the one with the highest score
  let best = -1, where = 0;
  for (let i = 0; i < shown.ids.length; i++) {
    if (shown.ids[i] === id && shown.scores[i] > best) { best = shown.scores[i]; where = i; }
  }
  if (best >= 0) explain({x: where % shown.w, y: where / shown.w | 0});
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
  if (painted) isolate(s.id); else if (isolated.size) showAll();
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
    pick(cross);
  } else if (e.key === ' ' && cross && read(cross).painted) {
    isolate(read(cross).s.id);
  } else if (e.key === 'Escape') {
    cross = null;
    tip.hidden = true;
    showAll();
  } else return;
  e.preventDefault();
};

names.onclick = () => {
  names.setAttribute('aria-pressed', String(!written()));
  remember('names', written());
  draw();
};
const sayOpacity = () => { opacity.nextElementSibling.textContent = opacity.value + ' %'; };
opacity.oninput = () => { sayOpacity(); draw(); };
opacity.onchange = () => remember('opacity', opacity.value);

const announce = () => running(element, panel);
$('.sv-run button').onclick = () => {
  trigger('halt');
  $('.sv-note').textContent = 'Stopped: this is still the answer before.' + REST_NOTE;
};

function start() {                                 // after the tab's script, which has found its controls
  place(panel, setup.panel);
  opacity.value = remembered('opacity') ?? opacity.value;
  sayOpacity();
  names.setAttribute('aria-pressed', remembered('names') ?? 'true');
  place($('.sv-controls'), setup.controlsAt);
  watch('value', refresh);
  watch('stage', announce);
  watch('error', () => say(props.error || ''));
  clear();
  announce();
  refresh();
}
