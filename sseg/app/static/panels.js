// A folded part of the page: asks for its answer when it comes into view, shows it by `render`, can be stopped.
// The division on the page comes from clusters.js as `window.ssegDivision`, since gradio may forget what it is told about
// a component that is folded away. The part's other script defines: render, redraw, questionOf.
let asked = '', inView = false;

function want() {
  const division = window.ssegDivision;
  if (!inView || !division || asked === questionOf(division)) return;
  asked = questionOf(division);
  trigger('wanted');
}

function refresh() {
  props.stage = '';
  say('');
  $('.st-ask').hidden = Boolean(props.value);
  $('.st-body').hidden = !props.value;
  if (props.value) render(props.value);
}

function hear() {                                  // of another division
  if (!window.ssegDivision) {
    asked = '';
    props.value = null;
    refresh();
  } else {
    redraw();
    want();
  }
}

const announce = () => running($('.st-body'));
$('.sv-run button').onclick = () => trigger('halt');
watch('value', refresh);
watch('stage', announce);
watch('error', () => {                             // an answer to another question would mislead beside it
  say(props.error || '');
  $('.st-body').hidden = Boolean(props.error) || !props.value;
});
refresh();
announce();
window.addEventListener('sseg-division', hear);
new IntersectionObserver(entries => { inView = entries.at(-1).isIntersecting; want(); }).observe(element);
