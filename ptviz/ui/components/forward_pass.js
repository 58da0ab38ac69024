// The forward pass of one text, drawn moment by moment: text, prompt, each layer, answer. All numbers come with the
// data; moving, stepping and the choice of the training step need no server.

const SVG = "http://www.w3.org/2000/svg";
const LEAST = 0.08; // attention below this share is not drawn
const MOMENT_MILLISECONDS = 750;
const ROW = 19, TOP = 40, BAR_ROW = 33;
const mounted = new WeakMap(); // node -> its state: one entry per mounted drawing

function put(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

const percent = (share) => `${Math.round(100 * share)}%`;
const largest = (values) => values.indexOf(Math.max(...values));

class ForwardPass {
  constructor(node, data) {
    this.node = node;
    this.data = data;
    this.moments = data.layers + 3;
    this.at = data.steps.length - 1;
    this.moment = this.moments - 1;
    this.weights = data.steps.map((step) => Uint8Array.from(atob(step.attention), (one) => one.charCodeAt(0)));
    this.still = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.find = (name) => node.querySelector(`[data-part=${name}]`);
    this.listen();
    this.layOut();
    if (!this.still.matches) this.play();
  }

  listen() {
    this.find("back").onclick = () => this.go(this.moment - 1);
    this.find("next").onclick = () => this.go(this.moment + 1);
    this.find("play").onclick = () => (this.timer ? this.pause() : this.play());
    const slider = this.find("step");
    slider.max = this.at;
    slider.value = this.at;
    slider.oninput = () => {
      this.pause();
      this.at = +slider.value;
      this.moment = this.moments - 1;
      this.draw(false);
    };
    this.node.onkeydown = (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move || event.target === slider || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation(); // the page may have its own use for these keys
      this.go(this.moment + move);
    };
    this.watch = new ResizeObserver(() => this.width !== this.node.clientWidth && this.layOut());
    this.watch.observe(this.node);
  }

  end() {
    this.pause();
    this.watch.disconnect();
  }

  play() {
    if (this.moment === this.moments - 1) this.show(0);
    this.timer = setInterval(() => {
      this.show(this.moment + 1);
      if (this.moment === this.moments - 1) this.pause();
    }, MOMENT_MILLISECONDS);
    this.drawControls();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.drawControls();
  }

  go(moment) {
    this.pause();
    this.show(Math.min(Math.max(moment, 0), this.moments - 1));
  }

  show(moment) {
    const forward = moment > this.moment;
    this.moment = moment;
    this.draw(forward);
  }

  // Positions of everything for the present width: bars beside the layers, or below them where there is little room.
  layOut() {
    const { data } = this, count = data.tokens.length;
    this.width = this.node.clientWidth || 600;
    const wide = this.width >= 700;
    this.labels = wide ? 108 : 78;
    const bars = wide ? 300 : this.width;
    this.right = wide ? this.width - bars - 60 : this.width - 34;
    this.middle = TOP + (count * ROW) / 2;
    this.bars = wide
      ? { x: this.width - bars, y: Math.max(this.middle - (data.classes.length * BAR_ROW) / 2, 20), width: bars }
      : { x: 0, y: TOP + count * ROW + 44, width: bars };
    const bottom = this.bars.y + data.classes.length * BAR_ROW;
    this.height = Math.max(TOP + count * ROW + 8, bottom) + 6;
    this.svg = this.find("drawing");
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.setAttribute("height", this.height);
    this.svg.replaceChildren();
    this.drawFrame(wide);
    this.layerGroups = [...Array(data.layers + 1)].map(() => put(this.svg, "g", { class: "edges" }));
    this.rows = data.tokens.map((_, place) => this.drawRow(place));
    this.drawBars(wide);
    this.drawn = null;
    this.draw(false);
  }

  x(layer) { return this.labels + 14 + ((this.right - this.labels - 28) * layer) / this.data.layers; }
  y(place) { return TOP + ROW * (place + 0.5); }

  drawFrame() {
    const { data, svg } = this, height = data.tokens.length * ROW;
    const left = (this.x(0) + this.x(1)) / 2;
    put(svg, "rect", { x: left, y: TOP - 4, width: this.right - left, height: height + 8, rx: 8, class: "frozen" });
    const title = this.width >= 700 ? `frozen backbone, ${data.layers} layers` : `frozen, ${data.layers} layers`;
    put(svg, "text", { x: (left + this.right) / 2, y: 13, "text-anchor": "middle", class: "title" }, title);
    for (let layer = 1; layer <= data.layers; layer++) {
      put(svg, "text", { x: this.x(layer), y: TOP - 8, "text-anchor": "middle", class: "faint" }, layer);
    }
  }

  drawRow(place) {
    const { data, svg } = this, number = data.prompt.indexOf(place), prompt = number >= 0, y = this.y(place);
    const row = put(svg, "g", { class: prompt ? "row prompt" : "row text" });
    const label = put(row, "g", { class: "label" });
    const box = put(label, "rect", { y: y - 8, height: 16, rx: 4, x: 0, width: this.labels });
    if (prompt) {
      for (const dot of [0, 1, 2]) put(label, "circle", { cx: 9 + 8 * dot, cy: y, r: 2.4, class: "number" });
    }
    const shown = prompt ? String(number) : data.tokens[place].slice(0, 13);
    put(label, "text", prompt ? { x: this.labels - 4, y: y + 4, "text-anchor": "end" } : { x: 6, y: y + 4 }, shown);
    const nodes = [...Array(data.layers + 1)].map((_, layer) =>
      put(row, "circle", { cx: this.x(layer), cy: y, r: 3.4, class: "node" }));
    return { row, box, nodes };
  }

  drawBars(wide) {
    const { data, svg } = this, { x, y, width } = this.bars;
    const answer = { x: this.right + (wide ? 34 : 20), y: this.middle };
    this.answer = put(svg, "circle", { cx: answer.x, cy: answer.y, r: 7, class: "answer" });
    this.answerAt = answer;
    this.barGroup = put(svg, "g", { class: "bars" });
    put(this.barGroup, "rect", { x, y: y - 17, width: 10, height: 10, class: "with" });
    put(this.barGroup, "text", { x: x + 15, y: y - 8 }, "with the prompt");
    put(this.barGroup, "rect", { x: x + 122.5, y: y - 16.5, width: 9, height: 9, class: "alone" });
    put(this.barGroup, "text", { x: x + 137, y: y - 8 }, "backbone alone");
    const start = x + 92;
    this.room = width - 92 - 44;
    this.barRows = data.classes.map((name, index) => {
      const top = y + index * BAR_ROW + 4;
      const text = put(this.barGroup, "text", { x: start - 8, y: top + 16, "text-anchor": "end" }, name.slice(0, 14));
      const made = put(this.barGroup, "rect", { x: start, y: top, height: 11, class: "with" });
      const madeShare = put(this.barGroup, "text", { y: top + 10, class: "small" });
      const alone = put(this.barGroup, "rect", { x: start + 0.5, y: top + 13.5, height: 10, class: "alone" });
      alone.style.width = `${Math.max(this.room * data.alone[index], 1)}px`;
      const x2 = start + 6 + this.room * data.alone[index];
      put(this.barGroup, "text", { x: x2, y: top + 23, class: "small faint" }, percent(data.alone[index]));
      return { text, made, madeShare, start };
    });
  }

  weight(layer, query, key) {
    const count = this.data.tokens.length;
    return this.weights[this.at][((layer - 1) * count + query) * count + key] / 255;
  }

  drawEdges(layer) {
    const { data } = this, group = this.layerGroups[layer], count = data.tokens.length;
    group.replaceChildren();
    const line = (x1, y1, x2, y2, share, prompt) => put(group, "path", {
      d: `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`, pathLength: 1,
      class: prompt ? "from-prompt" : "from-text",
      "stroke-width": (0.5 + 5 * share).toFixed(2), "stroke-opacity": Math.min(0.15 + 1.7 * share, 0.9).toFixed(2),
    });
    if (layer > data.layers) return;
    for (let query = 0; query < count; query++) {
      for (let key = 0; key < count; key++) {
        const share = this.weight(layer, query, key);
        if (share >= LEAST) {
          line(this.x(layer - 1), this.y(key), this.x(layer), this.y(query), share, data.prompt.includes(key));
        }
      }
    }
  }

  drawReadout() {
    const { data } = this, group = this.layerGroups[0];
    group.replaceChildren();
    for (const place of data.readout) {
      put(group, "path", {
        d: `M${this.x(data.layers)} ${this.y(place)}L${this.answerAt.x} ${this.answerAt.y}`, pathLength: 1,
        class: data.prompt.includes(place) ? "from-prompt" : "from-text", "stroke-width": 1, "stroke-opacity": 0.5,
      });
    }
  }

  draw(animated) {
    const { data, moment } = this, step = data.steps[this.at], last = this.moments - 1;
    this.node.classList.toggle("animated", animated && !this.still.matches);
    if (this.drawn !== this.at) {
      for (let layer = 1; layer <= data.layers; layer++) this.drawEdges(layer);
      this.drawReadout();
      this.drawn = this.at;
    }
    const longest = Math.max(...data.steps.flatMap((one) => one.norms), 1e-9);
    this.rows.forEach(({ row, box, nodes }, place) => {
      const number = data.prompt.indexOf(place);
      if (number >= 0) box.style.width = `${32 + (this.labels - 56) * (step.norms[number] / longest)}px`;
      row.classList.toggle("there", moment >= (number >= 0 ? 1 : 0));
      nodes.forEach((each, layer) => each.classList.toggle("lit", moment >= (layer ? layer + 1 : number >= 0 ? 1 : 0)));
    });
    this.layerGroups.forEach((group, layer) => {
      const from = layer ? layer + 1 : last;
      group.classList.toggle("there", moment >= from);
      group.classList.toggle("past", moment > from && moment < last);
    });
    this.answer.classList.toggle("there", moment === last);
    this.barGroup.classList.toggle("there", moment === last);
    const best = largest(step.probabilities);
    this.barRows.forEach(({ text, made, madeShare, start }, index) => {
      const share = moment === last ? step.probabilities[index] : 0;
      made.style.width = `${Math.max(this.room * share, 1)}px`;
      madeShare.setAttribute("x", start + 6 + this.room * share);
      madeShare.textContent = moment === last ? percent(share) : "";
      text.classList.toggle("best", index === best && moment === last);
    });
    const said = this.describe();
    this.find("said").textContent = said;
    this.svg.setAttribute("aria-label", said);
    this.node.dataset.moment = moment;
    this.node.dataset.at = this.at;
    this.find("step").setAttribute("aria-valuetext", `step ${step.label}`);
    this.find("step-name").textContent = `${step.label} of ${data.steps[data.steps.length - 1].label}`;
    this.drawControls();
  }

  drawControls() {
    const playing = Boolean(this.timer);
    this.find("play").textContent = playing ? "Pause" : "Play";
    // Not disabled: a button that is would drop the keyboard's focus at the first and the last moment.
    this.find("back").setAttribute("aria-disabled", this.moment === 0);
    this.find("next").setAttribute("aria-disabled", this.moment === this.moments - 1);
    // Nine sentences in a row are too many for a screen reader: it hears those that are asked for.
    this.find("said").setAttribute("aria-live", playing ? "off" : "polite");
  }

  describe() {
    const { data, moment } = this, step = data.steps[this.at], m = data.prompt.length;
    const own = data.tokens.map((_, place) => place).filter((place) => !data.prompt.includes(place));
    if (moment === 0) return `The text "${data.text}" enters as ${own.length} tokens, each a frozen vector.`;
    if (moment === 1) {
      const when = this.at ? `after ${step.label} training steps` : "before training";
      const who = m === 1 ? "1 vector, the soft prompt, slides" : `${m} vectors, the soft prompt, slide`;
      return `${who} in front, here ${when}. Nothing else is trained; a longer box means a larger norm.`;
    }
    if (moment < this.moments - 1) {
      const layer = moment - 1;
      const total = own.reduce((sum, query) => sum + data.prompt.reduce((part, key) => part + this.weight(layer, query, key), 0), 0);
      return `Layer ${layer} of ${data.layers}: the tokens of the text give ${percent(total / own.length)} of their attention to the prompt.`;
    }
    const best = largest(step.probabilities), alone = largest(data.alone);
    return `"${data.text}" With the prompt of step ${step.label}: ${data.classes[best]}, ` +
      `${percent(step.probabilities[best])}. The backbone alone: ${data.classes[alone]}, ${percent(data.alone[alone])}.`;
  }
}

export default function (component) {
  const { data, parentElement } = component;
  const node = parentElement.querySelector(".ptviz-forward");
  const known = mounted.get(node);
  if (known?.name !== data.name) {
    known?.drawing.end();
    mounted.set(node, { name: data.name, drawing: new ForwardPass(node, data) });
  }
  return () => {
    mounted.get(node)?.drawing.end();
    mounted.delete(node);
  };
}
