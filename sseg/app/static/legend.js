// The legend: a row a segment, with the columns that `setup.columns` names. Rows are buttons: Space isolates, Enter
// explains the strongest pixel. `rowExtra` of the tab's script may give a second button to a row.
const FORMS = {
  percent: x => percent(x),
  decimals: x => decimals(x),
  text: x => x === null ? '–' : String(x),
};
const columns = setup.columns, headed = columns.some(column => column.head);
panel.style.setProperty('--columns', columns.map(column => column.width + 'px').join(' '));

if ($('.svp-all', panel)) $('.svp-all', panel).onclick = showAll;

function renderHeads() {
  const heads = $('.svp-heads', panel);
  if (!headed || !heads) return;
  const meanings = columns.map(column => {
    const line = make('li');
    line.append(make('b', '', column.head), document.createTextNode(': ' + column.title));
    return line;
  });
  $('.svp-meanings ul', panel).replaceChildren(...meanings);
  heads.replaceChildren(make('span'), make('span', '', setup.thing), ...columns.map(column => {
    const head = make('span', 'svp-head-' + column.form, column.head);
    head.title = column.title;
    return head;
  }));
}

function renderLegend() {
  legend.replaceChildren(...shown.segments.map(legendRow));
  sortLegend();
  renderNumbers();
}

function sortLegend() {                            // biggest first
  const area = row => measure(shown, Number(row.dataset.id)).area;
  legend.append(...[...legend.children].map(row => [area(row), row]).sort((p, q) => q[0] - p[0]).map(p => p[1]));
}

function legendRow(s) {
  const row = make('li'), main = make('button', 'svp-row'), swatch = make('i', 'svp-swatch');
  const words = make('span', 'svp-words');
  row.dataset.id = s.id;
  main.type = 'button';
  swatch.style.background = rgb(s.color);
  words.append(make('b', '', s.phrase), ...rowWords(s));
  main.append(swatch, words);
  for (const {key, form} of columns) {
    const cell = make('span', form === 'bar' ? 'svp-bar' : 'svp-' + key);
    if (form === 'bar') {
      cell.append(make('i'));
      cell.firstChild.style.background = rgb(s.color);
    }
    main.append(cell);
  }
  main.onclick = () => isolate(s.id);
  main.onkeydown = e => { if (e.key === 'Enter') { e.preventDefault(); explainStrongest(s.id); } };
  row.append(main);
  const extra = rowExtra(s);
  if (extra) row.append(extra);
  return row;
}

function renderNumbers() {                         // of the present threshold; empty rows are hidden
  for (const row of legend.children) {
    const id = Number(row.dataset.id), s = shown.byId.get(id), facts = {...s, ...measure(shown, id)}, said = [];
    columns.forEach(({key, form, head}, i) => {
      const cell = $('.svp-row', row).children[i + 2];
      if (form === 'bar') cell.firstChild.style.width = 100 * facts[key] + '%';
      else cell.textContent = FORMS[form](facts[key]);
      if (head) said.push(`${head} ${cell.textContent}`);
    });
    if (headed) $('.svp-row', row).setAttribute('aria-label', `${s.phrase}: ${said.join(', ')}`);
    row.hidden = !facts.area;
  }
  markPressed();
}

function markPressed() {
  const all = $('.svp-all', panel);
  if (all) all.hidden = !isolated.size;
  for (const row of legend.children) {
    const id = Number(row.dataset.id), button = $('.svp-heat', row);
    $('.svp-row', row).setAttribute('aria-pressed', String(isolated.has(id)));
    if (button) button.setAttribute('aria-pressed', String(Boolean(heat) && heat.id === id));
  }
}
