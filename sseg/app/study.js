// A folded part of the page: asks for its answer when it comes into view, shows it by `render`, can be stopped.
let asked = '', inView = false;

function want() {
  if (!inView || !props.current || asked === props.current) return;
  asked = props.current;
  trigger('wanted');
}

function refresh() {
  props.stage = '';
  say('');
  $('.st-ask').hidden = Boolean(props.value);
  $('.st-body').hidden = !props.value;
  if (props.value) render(props.value);
}

const announce = () => running($('.st-body'));
$('.sv-run button').onclick = () => trigger('halt');
watch('current', want);
watch('value', refresh);
watch('stage', announce);
watch('error', () => {                             // an answer to another question would mislead beside it
  say(props.error || '');
  $('.st-body').hidden = Boolean(props.error) || !props.value;
});
refresh();
announce();
new IntersectionObserver(entries => { inView = entries.at(-1).isIntersecting; want(); }).observe(element);
