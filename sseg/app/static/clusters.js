// The Pseudo-masks tab's part of the viewer: features as colours, similarity to one patch, downloads, code.
const REST_NOTE = '';
const OVERLAY_OF_CANVAS = true;
const colours = $('.cl-colours canvas'), similar = $('.cl-similar canvas');
const UNLIKE_ALIKE = [[49, 54, 149], [116, 173, 209], [224, 243, 248], [254, 224, 144], [244, 109, 67], [165, 0, 38]];
let compared = null;                 // the patch that all others are compared with, of which features

canvas.setAttribute('aria-label', 'Clusters of the picture. Arrow keys move a cross-hair from patch to patch, Enter '
  + 'compares the patch with all others, Space shows its cluster alone, Escape clears.');

const outlines = $('.sv-outlines');
let smooth = false;                  // whether outlines follow the picture

const threshold = () => 0;
const subject = value => ({key: value.key});
const rowWords = () => [];
const rowExtra = () => null;
const leaveHeat = () => {};

function describe({s}) {
  return s ? [s.phrase, ` ${percent(s.area)} of the picture, compactness ${decimals(s.compactness)}`] : ['', ''];
}

function publish(division) {         // to the folded parts below (panels.js): which division is on the page
  window.ssegDivision = division;
  window.dispatchEvent(new Event('sseg-division'));
}

async function whenNew(value) {
  publish({key: value.key, patches: value.features, k: value.settings.k, seed: value.settings.seed});
  if (!compared || compared.features !== value.features) {
    cross = compared = null;
    renderSimilar();
  } else pick(compared.place);       // the same patch: its cluster may be another one now
  renderCode();
  renderOutlines();
  const mine = turn, image = await loadImage(value.colours.url);
  if (mine === turn) drawCells(colours, image);
}

function whenShown() {
  renderHeads();
  renderLegend();
}

function whenCleared() {
  publish(null);
  compared = null;
  colours.width = colours.height = 0;
  renderSimilar();
  renderCode();
}

function press(on) {
  smooth = on;
  outlines.setAttribute('aria-pressed', smooth);
  renderCode();
}

outlines.onclick = () => {
  press(!smooth);
  renderOutlines();
};

async function renderOutlines() {
  const view = named, mine = turn;
  if (!view || smooth === Boolean(view.fine)) return;
  const answer = smooth && await ask('outlines', {});
  const fine = answer ? unpack(await loadImage(answer.mask), view.segments) : null;
  if (mine !== turn || fine && !smooth) return;    // another answer, or another click, meanwhile
  if (!fine) press(false);                         // also where they cannot be had
  view.fine = fine;
  paint();
}

// ---- pictures of cells --------------------------------------------------------------------------------------
function drawCells(target, cells) {                // each cell is a rectangle, in the proportions of the picture
  const side = 480, {naturalWidth: w, naturalHeight: h} = named.image, k = side / Math.max(w, h);
  target.width = Math.max(1, Math.round(k * w));
  target.height = Math.max(1, Math.round(k * h));
  const c = target.getContext('2d');
  c.imageSmoothingEnabled = false;
  c.drawImage(cells, 0, 0, target.width, target.height);
  return c;
}

async function pick(place) {
  const answer = await ask('similar', {row: place.y, column: place.x});
  if (!answer) return;
  compared = {place, features: named.value.features, map: colourMap(await loadImage(answer.map), UNLIKE_ALIKE), answer};
  renderSimilar();
}

function renderSimilar() {
  const box = $('.cl-similar'), scale = $('.cl-scale');
  similar.hidden = scale.hidden = !compared;
  $('.cl-ask').hidden = Boolean(compared);
  $('figcaption', box).textContent = '';
  if (!compared) return;
  const {place, map, answer} = compared, c = drawCells(similar, map);
  const x = (place.x + 0.5) / shown.w * similar.width, y = (place.y + 0.5) / shown.h * similar.height;
  drawCross(c, x, y, 2 * Math.max(similar.width, similar.height));
  $('i', scale).style.background = `linear-gradient(90deg, ${UNLIKE_ALIKE.map(rgb)})`;
  const name = `Cluster ${answer.cluster}, patch ${place.x}, ${place.y}`;
  similar.setAttribute('aria-label', `Similarity of all patches to ${name}`);
  $('figcaption', box).textContent = `${name}: ${percent(answer.alike)} of the picture is alike (0.5 or more). `
    + 'Good features light up one whole thing.';
}

for (const target of [colours, similar]) {         // they are pictures of the same patches: a click means the same
  target.onclick = e => { if (shown) explain(at(e, target)); };
}

// ---- downloads and code -------------------------------------------------------------------------------------
const fileQuestion = kind => ({kind, outlines: smooth ? 'picture' : 'cells'});

function codes(v) {
  const url = location.origin + location.pathname, text = JSON.stringify, s = v.settings;
  const method = (s.method === 'kmeans' ? '' : `, method=${text(s.method)}`) + (smooth ? ', outlines="picture"' : '');
  const inputs = [s.features, s.k, s.facet, s.resolution, s.seed, s.method, smooth ? 'picture' : 'cells'];
  return [
    ['Python', `import sseg

masker = sseg.PseudoMasker(${text(s.features)}, facet=${text(s.facet)})
masks = masker(${text(v.name)}, k=${s.k}, seed=${s.seed}, resolution=${s.resolution}${method})
print(masks.to_json())`],
    ['gradio_client', `from gradio_client import Client, handle_file

view, found = Client(${text(url)}).predict(
    handle_file(${text(v.name)}), ${inputs.map(one => text(one)).join(', ')}, api_name="/pseudo_masks")
print(found)`],
    ['curl', curl(v.name, 'pseudo_masks', [PATH_AS_FILE, ...inputs])],
  ];
}
