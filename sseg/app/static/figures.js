// A number, how to read it, pictures with captions, and a table.
const questionOf = division => division.key;
const redraw = () => {};

function render({headline, label, read, figures, heads, rows}) {
  const number = make('p', 'st-number'), pictures = make('div', 'st-figures');
  number.append(make('b', '', headline), document.createTextNode(' ' + label));
  pictures.append(...figures.map(({image, caption}) => {
    const figure = make('figure'), img = make('img');
    img.src = image.url;
    img.alt = caption;
    figure.append(img, make('figcaption', '', caption));
    return figure;
  }));
  $('.st-body').replaceChildren(number, make('p', 'svp-hint', read), pictures);
  if (rows.length) $('.st-body').append(table(heads, rows));
}

function table(heads, rows) {
  const box = make('div', 'st-table'), all = make('table'), head = make('tr'), body = make('tbody');
  head.append(...heads.map(name => {
    const cell = make('th', '', name);
    cell.scope = 'col';
    return cell;
  }));
  body.append(...rows.map(row => {
    const line = make('tr');
    line.append(...row.map(cell => typeof cell === 'string' ? make('td', '', cell) : chips(cell)));
    return line;
  }));
  all.append(make('thead'), body);
  all.firstChild.append(head);
  box.tabIndex = 0;                                // it may scroll sideways
  box.setAttribute('role', 'region');
  box.setAttribute('aria-label', heads.join(', '));
  box.append(all);
  return box;
}

function chips(list) {                             // names with their colours
  const cell = make('td', 'st-chips', list.length ? undefined : 'none');
  cell.append(...list.map(({name, color}) => {
    const chip = make('span'), swatch = make('i', 'svp-swatch');
    swatch.style.background = rgb(color);
    chip.append(swatch, document.createTextNode(name));
    return chip;
  }));
  return cell;
}
