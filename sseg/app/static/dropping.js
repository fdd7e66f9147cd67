// An image that is dropped or pasted anywhere on the page goes to the button "Choose an image" of the tab that is open.
const button = () => [...document.querySelectorAll('.sseg-choose')].find(one => one.offsetParent);
const inputOf = one => one.parentElement.querySelector('input[type=file]') || one.querySelector('input[type=file]');
const isFile = data => data && [...data.types].includes('Files');

function give(files) {
  const file = [...files].find(one => one.type.startsWith('image/')) || files[0], one = button();
  if (!file || !one) return false;
  const box = new DataTransfer(), input = inputOf(one);
  box.items.add(file);
  input.files = box.files;
  input.dispatchEvent(new Event('change', {bubbles: true}));
  return true;
}

let depth = 0;                                     // dragenter and dragleave come for every element under way
const over = on => document.body.classList.toggle('sseg-drop', on);
const onFiles = work => event => {
  if (!isFile(event.dataTransfer) || !button()) return;
  if (event.target.closest && event.target.closest('[data-testid="block-info"], .file-preview, .wrap [type=file]')) return;
  event.preventDefault();
  work(event);
};
document.addEventListener('dragenter', onFiles(() => over(++depth > 0)));
document.addEventListener('dragleave', onFiles(() => over(--depth > 0)));
document.addEventListener('dragover', onFiles(() => {}));
document.addEventListener('drop', onFiles(event => { over(depth = 0); give(event.dataTransfer.files); }));
document.addEventListener('paste', event => {
  if (isFile(event.clipboardData) && give(event.clipboardData.files)) event.preventDefault();
});
