// The part beside the picture: legend, unknown words, pixel, downloads, code. Read together with viewer.js.
function renderLegend() {
  legend.replaceChildren(...shown.segments.map(legendRow));
  sortLegend();
  $('h2', panel).textContent = shown.unnamed ? 'Unnamed regions' : 'Found';
  renderAreas();
}

function sortLegend() {                            // biggest first
  const area = row => measure(shown, Number(row.dataset.id)).area;
  legend.append(...[...legend.children].map(row => [area(row), row]).sort((p, q) => q[0] - p[0]).map(p => p[1]));
}

function legendRow(s) {
  const row = make('li'), main = make('button', 'svp-row'), swatch = make('i', 'svp-swatch');
  const words = make('span', 'svp-words'), bar = make('span', 'svp-bar');
  row.dataset.id = s.id;
  main.type = 'button';
  swatch.style.background = rgb(s.color);
  words.append(make('b', '', s.phrase));
  if (s.winner && s.winner !== s.phrase) words.append(make('small', '', `seen as “${s.winner}”`));
  if (s.known === false) words.append(make('small', 'svp-mark', 'unknown word'));
  bar.append(make('i'));
  bar.firstChild.style.background = rgb(s.color);
  main.append(swatch, words, make('span', 'svp-area'), bar, make('span', 'svp-score'));
  main.onclick = () => isolate(s.id);
  main.onkeydown = e => { if (e.key === 'Enter') { e.preventDefault(); explainStrongest(s.id); } };
  row.append(main);
  if (!shown.unnamed) {
    const button = make('button', 'svp-heat', 'Heat');
    button.type = 'button';
    button.setAttribute('aria-label', `Heat map of ${s.phrase}`);
    button.onclick = () => toggleHeat(s);
    row.append(button);
  }
  return row;
}

function renderAreas() {                           // the numbers of the present threshold; empty rows are hidden
  const absent = [];
  for (const row of legend.children) {
    const id = Number(row.dataset.id), {area, score} = measure(shown, id);
    $('.svp-area', row).textContent = percent(area);
    $('.svp-score', row).textContent = decimals(score);
    $('.svp-bar i', row).style.width = 100 * area + '%';
    row.hidden = !area;
    if (!area) absent.push(shown.byId.get(id).phrase);
  }
  const list = absent.slice(0, 12).join(', ') + (absent.length > 12 ? ` and ${absent.length - 12} more` : '');
  $('.svp-absent', panel).textContent = !absent.length ? ''
    : absent.length < shown.segments.length ? `Nothing found: ${list}`
    : `Nothing found: ${list}. Move “Background” to the left, or try other words.`;
  markPressed();
}

function markPressed() {
  for (const row of legend.children) {
    const id = Number(row.dataset.id), button = $('.svp-heat', row);
    $('.svp-row', row).setAttribute('aria-pressed', String(isolated.has(id)));
    if (button) button.setAttribute('aria-pressed', String(Boolean(heat) && heat.id === id));
  }
}

function renderUnknown(segments) {
  const unknown = segments.filter(s => s.known === false);
  const lines = unknown.map(s => {
    const p = make('p');
    p.append(make('b', '', `“${s.phrase}”`), document.createTextNode(s.near.length ? ', near: ' : ''));
    for (const word of s.near) {
      const button = make('button', '', word);
      button.type = 'button';
      button.setAttribute('aria-label', `Ask for ${word} instead of ${s.phrase}`);
      button.onclick = () => trigger('reword', {old: s.phrase, new: word});
      p.append(button);
    }
    return p;
  });
  const head = make('p', '', 'These weights have never seen these words, so expect guesses:');
  $('.svp-unknown', panel).replaceChildren(...(lines.length ? [head, ...lines] : []));
}

// ---- heat map -----------------------------------------------------------------------------------------------
const INFERNO = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99],
  [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];

async function toggleHeat(s) {
  if (heat && heat.id === s.id) { heat = null; renderScale(); markPressed(); return draw(); }
  const answer = await ask('heat', {id: s.id});
  if (!answer) return;
  const gray = await loadImage(answer.map), px = bytesOf(gray);
  const map = new OffscreenCanvas(gray.naturalWidth, gray.naturalHeight), c = map.getContext('2d');
  const out = c.createImageData(map.width, map.height);
  for (let i = 0; i < px.length; i += 4) {
    const t = px[i] / 255 * (INFERNO.length - 1), j = Math.min(INFERNO.length - 2, t | 0);
    for (let k = 0; k < 3; k++) out.data[i + k] = INFERNO[j][k] + (t - j) * (INFERNO[j + 1][k] - INFERNO[j][k]);
    out.data[i + 3] = 255;
  }
  c.putImageData(out, 0, 0);
  heat = {id: s.id, map, phrase: s.phrase, high: answer.high};
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
async function explainPixel({x, y}) {
  const answer = await ask('explain', {x, y});
  if (answer) renderPixel({x, y, ...answer});
}

function explainStrongest(id) {                    // of the segment's pixels, the one with the highest score
  let best = -1, where = 0;
  for (let i = 0; i < shown.ids.length; i++) {
    if (shown.ids[i] === id && shown.scores[i] > best) { best = shown.scores[i]; where = i; }
  }
  if (best >= 0) explain({x: where % shown.w, y: where / shown.w | 0});
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
function hand(blob, name) {
  const a = make('a');
  a.href = URL.createObjectURL(blob);
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 10000);
}

panel.querySelectorAll('[data-file]').forEach(button => { button.onclick = async () => {
  if (!named) return say('There is nothing to save yet: choose a picture and press Segment.');
  const stem = named.value.name.replace(/\.[^.]*$/, '') || 'picture', kind = button.dataset.file;
  if (kind === 'overlay') return canvas.toBlob(blob => hand(blob, stem + '-overlay.png'));
  const answer = await ask('file', {kind, background: background.value / 100});
  if (!answer) return;
  const data = Uint8Array.from(atob(answer.data), c => c.charCodeAt(0));
  hand(new Blob([data], {type: answer.type}), stem + answer.ending);
}; });

function renderCode() {
  const box = $('.svp-code > div', panel), v = named && named.value;
  panel.classList.toggle('svp-none', !v);
  if (!v) return box.replaceChildren();
  const url = location.origin + location.pathname, text = JSON.stringify, bg = decimals(background.value / 100);
  const shell = value => "'" + value.replaceAll("'", "'\\''") + "'";
  const ask = text({data: [{path: 'PATH', meta: {_type: 'gradio.FileData'}}, v.words, Number(bg)]});
  const codes = [
    ['Python', `import sseg

result = sseg.load(${text(props.weights)})(${text(v.name)}, ${text(v.words)}, background=${bg})
print(result.to_json())`],
    ['gradio_client', `from gradio_client import Client, handle_file

view, found = Client(${text(url)}).predict(
    handle_file(${text(v.name)}), ${text(v.words)}, ${bg}, api_name="/segment")
print(found)`],
    ['curl', `curl -F ${shell('files=@' + v.name)} ${shell(url + 'gradio_api/upload')}   # gives ["PATH"]
curl -H 'Content-Type: application/json' -d ${shell(ask)} \\
  ${shell(url + 'gradio_api/call/segment')}   # gives an EVENT_ID
curl -N ${shell(url + 'gradio_api/call/segment/')}EVENT_ID`],
  ];
  box.replaceChildren(...codes.flatMap(([name, code]) => {
    const head = make('h3', '', name), copy = make('button', '', 'Copy'), pre = make('pre', '', code);
    copy.type = 'button';
    copy.setAttribute('aria-label', `Copy the ${name} code`);
    copy.onclick = async () => {
      try {
        await navigator.clipboard.writeText(code);
        copy.textContent = 'Copied';
      } catch {                                    // no clipboard without https or localhost
        copy.textContent = 'Select and copy';
      }
    };
    pre.tabIndex = 0;
    head.append(copy);
    return [head, pre];
  }));
}
