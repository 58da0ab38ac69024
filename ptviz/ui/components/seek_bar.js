// A slider that the server moves while something plays. What the reader chooses is sent once, as an event: a value that
// both sides hold would be sent back by the browser after the server has gone on, and the server would jump back to it.

const WAIT_MILLISECONDS = 150; // while the thumb is dragged or an arrow key is held, not every step is sent

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const input = parentElement.querySelector("input");
  const output = parentElement.querySelector("output");
  const name = (value) => `${(+value).toLocaleString("en")} of ${data.last.toLocaleString("en")}`;
  const show = (value) => {
    output.textContent = name(value);
    input.setAttribute("aria-valuetext", name(value));
  };
  const send = () => {
    clearTimeout(input.waiting);
    input.waiting = null;
    setTriggerValue("sought", +input.value);
  };
  input.min = data.first;
  input.max = data.last;
  input.oninput = () => {
    show(input.value);
    clearTimeout(input.waiting);
    input.waiting = setTimeout(send, WAIT_MILLISECONDS);
  };
  input.onchange = send;
  input.onpointerdown = () => { input.held = true; };
  input.onpointerup = input.onpointercancel = () => { input.held = false; };
  if (input.held || input.waiting) return;
  input.value = data.value;
  show(data.value);
}
