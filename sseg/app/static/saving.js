// Downloads, and the same answer as code. The tab's script defines: fileQuestion, codes, OVERLAY_OF_CANVAS.
function hand(blob, name) {
  const a = make('a');
  a.href = URL.createObjectURL(blob);
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 10000);
}

function handCanvas(name) {                        // what is on the screen, without the cross-hair
  const here = cross;
  cross = null;
  draw();
  canvas.toBlob(blob => hand(blob, name));
  cross = here;
  draw();
}

panel.querySelectorAll('[data-file]').forEach(button => { button.onclick = async () => {
  if (!named) return say('There is nothing to save yet: choose a picture first.');
  const stem = named.value.name.replace(/\.[^.]*$/, '') || 'picture', kind = button.dataset.file;
  if (kind === 'overlay' && OVERLAY_OF_CANVAS) return handCanvas(stem + '-overlay.png');
  const answer = await ask('file', fileQuestion(kind));
  if (!answer) return;
  const data = Uint8Array.from(atob(answer.data), c => c.charCodeAt(0));
  hand(new Blob([data], {type: answer.type}), stem + answer.ending);
}; });

const shell = value => "'" + value.replaceAll("'", "'\\''") + "'";

function curl(name, event, data) {                 // upload, call, fetch; `data` are the event's inputs
  const url = location.origin + location.pathname;
  return `curl -F ${shell('files=@' + name)} ${shell(url + 'gradio_api/upload')}   # gives ["PATH"]
curl -H 'Content-Type: application/json' -d ${shell(JSON.stringify({data}))} \\
  ${shell(url + 'gradio_api/call/' + event)}   # gives an EVENT_ID
curl -N ${shell(url + 'gradio_api/call/' + event + '/')}EVENT_ID`;
}

const PATH_AS_FILE = {path: 'PATH', meta: {_type: 'gradio.FileData'}};

function renderCode() {
  const box = $('.svp-code > div', panel), v = named && named.value;
  panel.classList.toggle('svp-none', !v);
  if (!v) return box.replaceChildren();
  box.replaceChildren(...codes(v).flatMap(([name, code]) => {
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
