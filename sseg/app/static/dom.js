// What every script here begins with. Given by Gradio: element, props, watch, trigger, server.
// People's words go in through textContent only; colours go through Number.
const $ = (css, root = element) => root.querySelector(css);
const make = (tag, cls, text) => {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
};
const percent = x => (100 * x).toFixed(x < 0.0995 ? 1 : 0) + ' %';
const rgb = color => `rgb(${color.map(Number)})`;
const decimals = x => Number(x).toFixed(2);

const loadImage = src => new Promise((ok, no) => {
  const image = new Image();
  image.onload = () => ok(image);
  image.onerror = () => no(new Error('A picture did not arrive: try again.'));
  image.src = src;
});

function bytesOf(image) {
  const c = new OffscreenCanvas(image.naturalWidth, image.naturalHeight).getContext('2d', {willReadFrequently: true});
  c.drawImage(image, 0, 0);
  return c.getImageData(0, 0, image.naturalWidth, image.naturalHeight).data;
}

function remember(name, value) {                   // in this browser, if it lets us
  try { localStorage.setItem('sseg-' + name, value); } catch {}
}

function remembered(name) {
  try { return localStorage.getItem('sseg-' + name); } catch { return null; }
}

function say(sentence) {                           // what went wrong, or "" for nothing
  const p = $('.sv-error');
  p.textContent = sentence;
  p.hidden = !sentence;
}

function running(...dimmed) {                      // what runs now; `dimmed`: elements that show the answer before
  const box = $('.sv-run');
  box.hidden = !props.stage;
  $('span', box).textContent = props.stage || '';
  for (const one of dimmed) one.classList.toggle('sv-busy', Boolean(props.stage));
}
