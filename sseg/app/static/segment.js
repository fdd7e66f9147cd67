// The Segment tab's part of the viewer: background threshold, unnamed regions, unknown words, heat maps, one pixel.
const background = $('.sv-background'), unnamed = $('.sv-unnamed');
const REST = '#8a8f98', REST_NOTE = ' Press Segment to go on.';

const threshold = () => shown && shown.unnamed ? 0 : Math.ceil(background.value * 2.55 - 1e-9);
const subject = value => ({key: value.key, words: value.words});

function describe({s, score, painted}) {
  if (painted) return [s.phrase, ` ${percent(score)}`];
  return ['background', s ? `, best ${s.phrase} ${percent(score)}` : ''];
}

function whenNew(value) {
  cross = null;
  if (!moved) setBackground(100 * value.background);
  renderUnknown(value.segments);
  renderAlso(value.also);
  renderCode();
}

function whenShown(view) {
  unnamed.setAttribute('aria-pressed', String(Boolean(view.unnamed)));
  background.disabled = Boolean(view.unnamed);
  renderScale();
  renderPixel(null);
  $('h2', panel).textContent = view.unnamed ? 'Unnamed regions' : 'Found';
  renderLegend();
  renderAbsent();
}

function whenCleared() {
  renderAlso([]);
  renderUnknown([]);
  renderPixel(null);
  renderScale();
  renderCode();
  $('.svp-absent', panel).textContent = 'Nothing yet.';
}

// ---- background and unnamed regions -------------------------------------------------------------------------
let queued = false;                  // one repaint a frame while the slider moves
let moved = remembered('background') !== null;      // by the person: from then on it stays, else it follows the weights' own

function setBackground(hundredths) {
  background.value = hundredths;
  background.nextElementSibling.textContent = decimals(background.value / 100);
}

if (moved) setBackground(remembered('background'));

background.oninput = () => {
  moved = true;
  background.nextElementSibling.textContent = decimals(background.value / 100);
  renderCode();
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    paint();
    if (shown) { renderNumbers(); renderAbsent(); }
  });
};
background.onchange = () => { remember('background', background.value); if (shown) sortLegend(); };   // when the slider is let go: rows do not jump under way

function nearly(s) {                  // a phrase that is not found, and how near it came where it is the best one
  let score = 255;
  while (score && !shown.histogram[s.id * 256 + score]) score--;
  return score ? `${s.phrase} (at most ${decimals(score / 255)})` : s.phrase;
}

function renderAbsent() {
  const hidden = [...legend.children].filter(row => row.hidden);
  const absent = hidden.map(row => nearly(shown.byId.get(Number(row.dataset.id))));
  const list = absent.slice(0, 12).join(', ') + (absent.length > 12 ? ` and ${absent.length - 12} more` : '');
  const box = $('.svp-absent', panel), some = guess && shown.byId.get(guess.id), level = decimals(background.value / 100);
  mark.value = guess ? Math.floor(guess.level / 2.55) : '';
  box.classList.toggle('svp-guess', Boolean(guess));
  box.textContent = !absent.length ? ''
    : !guess ? `Nothing found: ${list}`
    : `Nothing reaches the background level ${level}. The best guess, painted faintly: ${some.phrase}, `
      + `${decimals(guess.level / 255)}. Move “Background” to its mark to see it as found, or try other words.`;
}

const mark = document.createElement('option');       // on the slider, where something would appear
const marks = document.createElement('datalist');
marks.id = 'sseg-mark';
marks.append(mark);
background.parentElement.append(marks);
background.setAttribute('list', marks.id);

// ---- what else is here --------------------------------------------------------------------------------------
function renderAlso(phrases) {
  const chips = phrases.map(phrase => {
    const chip = make('button', '', '+ ' + phrase);
    chip.type = 'button';
    chip.setAttribute('aria-label', `Add ${phrase}`);
    chip.onclick = () => trigger('also', {new: phrase});
    return chip;
  });
  $('.svp-also', panel).replaceChildren(...(chips.length ? [make('span', '', 'Also here:'), ...chips] : []));
}

unnamed.onclick = async () => {
  if (!named) return;
  if (shown.unnamed) return show(named);
  if (!named.regions) {
    const answer = await ask('unnamed', {});
    if (!answer) return;
    named.regions = {...unpack(await loadImage(answer.mask), answer.segments), image: named.image, unnamed: true};
  }
  show(named.regions);
};

// ---- words --------------------------------------------------------------------------------------------------
function rowWords(s) {
  const words = [];
  if (s.winner && s.winner !== s.phrase) words.push(make('small', '', `seen as “${s.winner}”`));
  if (s.known === false) words.push(make('small', 'svp-mark', 'unknown word'));
  return words;
}

const MOST_UNSEEN = 3;

function renderUnknown(segments) {
  const unseen = segments.filter(s => s.known === false);
  const many = `${unseen.length} of these words were in no caption: expect guesses where they are found.`;
  const lines = unseen.length > MOST_UNSEEN ? [make('p', '', many)] : unseen.map(unseenLine);
  $('.svp-unknown', panel).replaceChildren(...lines);
}

function unseenLine(s) {              // “lorry” was in no caption; nearest known word: truck (0.83)
  const p = make('p'), slips = s.near.filter(one => one.slip), near = slips.length ? slips : s.near;
  const then = slips.length ? 'did you mean ' : `nearest known word${near.length > 1 ? 's' : ''}: `;
  p.append(make('b', '', `“${s.phrase}”`), ' was in no caption; ', near.length ? then : 'no known word is near.');
  for (const {phrase, similarity, slip} of near) {
    const button = make('button', '', slip ? phrase : `${phrase} (${decimals(similarity)})`);
    button.type = 'button';
    button.setAttribute('aria-label', `${button.textContent}: ask for it instead of ${s.phrase}`);
    button.onclick = () => trigger('reword', {old: s.phrase, new: phrase});
    p.append(button);
  }
  if (slips.length) p.append('?');
  return p;
}

// ---- heat maps ----------------------------------------------------------------------------------------------
function rowExtra(s) {
  if (shown.unnamed) return null;
  const button = make('button', 'svp-heat', 'Heat');
  button.type = 'button';
  button.setAttribute('aria-label', `Heat map of ${s.phrase}`);
  button.onclick = () => toggleHeat(s);
  return button;
}

function leaveHeat() {
  heat = null;
  renderScale();
}

async function toggleHeat(s) {
  if (heat && heat.id === s.id) { leaveHeat(); markPressed(); return draw(); }
  const answer = await ask('heat', {id: s.id});
  if (!answer) return;
  heat = {id: s.id, map: colourMap(await loadImage(answer.map), INFERNO), phrase: s.phrase, high: answer.high};
  isolated.clear();
  renderScale();
  markPressed();
  draw();
}

function renderScale() {
  const box = $('.sv-scale');
  box.hidden = !heat;
  if (!heat) return;
  $('.sv-scale-name').textContent = `score of “${heat.phrase}”`;
  $('.sv-low').textContent = '0';
  $('.sv-high').textContent = decimals(heat.high);
  $('i', box).style.background = `linear-gradient(90deg, ${INFERNO.map(rgb)})`;
}

// ---- one pixel ----------------------------------------------------------------------------------------------
async function pick({x, y}) {
  if (!named.segments.length) return;               // nothing has been asked yet
  const answer = await ask('explain', {x, y});
  if (answer) renderPixel({x, y, ...answer});
}

function renderPixel(pixel) {
  const box = $('.svp-pixel', panel);
  if (!pixel) return box.replaceChildren(make('p', 'svp-hint', 'Click the picture to see how sure a pixel is.'));
  const list = make('ol');
  for (const {phrase, score} of pixel.best) {
    const li = make('li'), bar = make('span', 'svp-bar');
    bar.append(make('i'));
    bar.firstChild.style.width = 100 * score + '%';
    const s = named.segments.find(s => s.phrase === phrase);
    bar.firstChild.style.background = s ? rgb(s.color) : REST;
    li.append(make('span', '', phrase), bar, make('span', 'svp-score', decimals(score)));
    list.append(li);
  }
  const first = pixel.best.length ? pixel.best[0].score : 0;
  const unpainted = first * 100 < Number(background.value);
  const margin = pixel.best.length > 1 ? `Margin to the next: ${decimals(pixel.margin)}. ` : '';
  const words = pixel.words.slice(0, 3).map(({phrase, score}) => `${phrase} ${decimals(score)}`).join(', ');
  box.replaceChildren(make('h3', '', `Pixel (${pixel.x}, ${pixel.y})`), list,
    make('p', 'svp-hint', margin + (unpainted ? 'The best score is below the background threshold.' : '')),
    make('p', 'svp-hint', words && `Of all words they know, the best here: ${words}`));
}

// ---- downloads and code -------------------------------------------------------------------------------------
const OVERLAY_OF_CANVAS = false;

function fileQuestion(kind) {
  const first = [...legend.children].find(row => !row.hidden), chosen = [...isolated][0];
  const id = shown.unnamed ? 1 : chosen || Number(first ? first.dataset.id : 1);
  return {kind, background: background.value / 100, opacity: opacity.value / 100, id};
}

function codes(v) {
  const url = location.origin + location.pathname, text = JSON.stringify, bg = decimals(background.value / 100);
  return [
    ['Python', `import sseg

result = sseg.load(${text(v.weights === props.live ? props.weights : v.weights)})(${text(v.name)}, ${text(v.words)}, background=${bg})
print(result.to_json())`],
    ['gradio_client', `from gradio_client import Client, handle_file

view, found = Client(${text(url)}).predict(
    handle_file(${text(v.name)}), ${text(v.words)}, ${bg}, ${text(v.weights)}, api_name="/segment")
print(found)`],
    ['curl', curl(v.name, 'segment', [PATH_AS_FILE, v.words, Number(bg), v.weights])],
  ];
}
