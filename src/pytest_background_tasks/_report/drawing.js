"use strict";
/* The drawing of a run: a lane for each task, a row for each step, and the arrows between them. */

const REM = 16; // units of the drawing; the style sheet scales the drawing with the font
const wide = matchMedia("(min-width: 40.01rem)");

function draw(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const rowHeight = () => (wide.matches ? 1.75 : 2.75) * REM;
const laneWidth = (count) => Math.max(0.5, Math.min(wide.matches ? 3 : 1.5, (wide.matches ? 14 : 8) / count));

/** The lifelines, marks and arrows of a run. */
function drawing(run, width) {
  const x = (lane) => (lane + 0.5) * width * REM;
  const y = ({ line }) => (line + 0.5) * rowHeight();
  const height = run.height * rowHeight();
  const size = { width: run.tasks.length * width * REM, height };
  const svg = draw("svg", { viewBox: `0 0 ${size.width} ${height}`, "aria-hidden": "true" });
  svg.style.width = `${size.width / REM}rem`;
  svg.style.height = `${height / REM}rem`;
  const paths = { waits: "", open: "", ready: "", late: "", wakes: "", heads: "", end: "" };
  Object.assign(paths, { sent: "", "sent heads": "", "sent odd": "", "sent odd heads": "" });
  const marks = [];
  run.stepsOf.forEach((places, lane) => {
    for (const place of places) {
      const step = run.steps[place];
      const { before, waker } = step;
      const since = [before, waker].filter(Boolean).sort((one, other) => other.place - one.place)[0] ?? step;
      if (before) paths.waits += `M${x(lane)} ${y(before)}V${y(since)}`;
      paths[step.isDeviating ? "late" : "ready"] += `M${x(lane)} ${y(step.isDeviating && before ? before : since)}V${y(step)}`;
      if (step.ending) paths.end += `M${x(lane) - 7} ${y(step) + 9}h14`;
    }
    const last = run.steps[places.at(-1)];
    if (last && !last.ending) paths.open += `M${x(lane)} ${y(last)}V${height}`;
  });
  for (const step of run.steps) {
    if (step.task === undefined) continue;
    const arrow = arrowTo(step, x, y);
    if (arrow) { paths.wakes += arrow.line; paths.heads += arrow.head; }
    for (const { line, head } of arrowsOverNetwork(step, x, y)) {
      const kind = step.isDeviating ? "sent odd" : "sent";
      paths[kind] += line;
      paths[`${kind} heads`] += head;
    }
    const radius = step.isStep ? 5 : 3.5;
    const kind = `${step.isStep ? "" : "call"}${step.isDeviating ? " odd" : ""}`;
    marks.push(draw("circle", { cx: x(step.task), cy: y(step), r: Math.min(radius, width * 7), class: kind }));
  }
  svg.append(...Object.entries(paths).map(([kind, d]) => draw("path", { class: kind, d })), ...marks);
  svg.append(draw("path", { class: "chosen line", d: "" }), draw("path", { class: "chosen heads", d: "" }), draw("circle", { class: "ring", r: 9 }));
  return { svg, x, y };
}

/** The arrow from the step that made another one ready to the lifeline of that one. */
function arrowTo(step, x, y) {
  const waker = step.waker;
  if (!waker || waker.task === step.task) return null;
  const [start, end, height] = [x(waker.task), x(step.task), y(waker)];
  const back = end > start ? -6 : 6;
  return { line: `M${start} ${height}H${end}`, head: `M${end} ${height}l${back} -3.5v7z` };
}

/** The arrows from the steps that caused an event of the network to its mark: bent, so that they do not cover each other. */
function arrowsOverNetwork(step, x, y) {
  const [toX, toY] = [x(step.task), y(step)];
  const aside = Math.min(12, (x(1) - x(0)) * 0.6);
  return step.causes.map((cause) => {
    const [fromX, fromY] = [x(cause.task), y(cause)];
    const isBeside = fromX === toX; // then the arrow leaves the lane, and returns to it
    const [bendX, bendY] = isBeside ? [toX + aside, toY] : [fromX + (toX - fromX) * 0.2, fromY + (toY - fromY) * 0.8];
    const angle = Math.atan2(toY - bendY, toX - bendX);
    const point = (before, beside) => `${toX - before * Math.cos(angle) - beside * Math.sin(angle)} ${toY - before * Math.sin(angle) + beside * Math.cos(angle)}`;
    const start = isBeside ? `${bendX} ${fromY}` : `${bendX} ${bendY}`;
    return { line: `M${fromX} ${fromY}C${start} ${bendX} ${bendY} ${point(5, 0)}`, head: `M${point(4, 0)}L${point(10, 3.5)}L${point(10, -3.5)}z` };
  });
}
