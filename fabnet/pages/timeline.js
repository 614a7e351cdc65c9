// Draws the page's data (fabnet/inference/timeline/page.py) on its canvases, and follows the pointer.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const last = Math.max(data.samples - 1, 1);
  const view = { from: -0.5, to: last + 0.5 };

  const clock = (sample) => {
    const tenths = Math.round(10 * sample / data.fps), minutes = Math.floor(tenths / 600);
    return `${minutes}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
  };

  const number = (value, digits) => value.toFixed(digits).replace(/^-(0(\.0+)?)$/, "$1");

  // The values of a series, NaN where there was no face.
  const unpack = (text, series) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const whole = series.wide ? new Uint16Array(bytes.buffer) : bytes;
    const missing = series.wide ? 65535 : 255, step = (series.high - series.low) / (missing - 1);
    return Float32Array.from(whole, (value) => value === missing ? NaN : series.low + value * step);
  };

  const lanes = [...document.querySelectorAll(".lane")].map((section, number) => {
    const packed = data.lanes[number], canvases = [...section.querySelectorAll("canvas")];
    return {
      section, canvases, packed, cursor: null,
      raw: packed.raw.map((text, at) => unpack(text, data.series[at])),
      smooth: packed.smooth.map((text, at) => unpack(text, data.series[at])),
      starts: new Set([...data.shots, ...packed.tracks.map(([, first]) => first)]),
      outputs: [...section.querySelectorAll(".row output")],
      image: section.querySelector(".at img"), said: section.querySelector(".at output"),
    };
  });

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A canvas of as many pixels as the screen shows, in units of CSS pixels.
  const prepared = (canvas) => {
    const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(box.width * ratio));
    canvas.height = Math.max(1, Math.round(box.height * ratio));
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    return { pen, width: box.width, height: box.height, x: (sample) => (sample - view.from) / (view.to - view.from) * box.width };
  };

  const hatch = (pen) => {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 6;
    const inner = tile.getContext("2d");
    inner.strokeStyle = colour("--hatch");
    inner.lineWidth = 2;
    for (const shift of [-6, 0, 6]) { inner.beginPath(); inner.moveTo(shift, 6); inner.lineTo(shift + 6, 0); inner.stroke(); }
    return pen.createPattern(tile, "repeat");
  };

  // Where there was no face, and where the video is cut.
  const ground = ({ pen, height, x }, values) => {
    pen.fillStyle = hatch(pen);
    let start = null;
    for (let sample = 0; sample <= values.length; sample++) {
      const none = sample < values.length && Number.isNaN(values[sample]);
      if (none && start === null) start = sample;
      if (!none && start !== null) { pen.fillRect(x(start - 0.5), 0, x(sample - 0.5) - x(start - 0.5), height); start = null; }
    }
    pen.strokeStyle = colour("--mark");
    pen.setLineDash([3, 3]);
    for (const shot of data.shots) {
      pen.beginPath(); pen.moveTo(x(shot - 0.5), 0); pen.lineTo(x(shot - 0.5), height); pen.stroke();
    }
    pen.setLineDash([]);
  };

  // A line through the samples in view that lifts between tracks and shots, and where there is none: of several within a pixel, the
  // least and the most.
  const line = ({ pen, x }, values, starts, y) => {
    const first = Math.max(0, Math.floor(view.from)), end = Math.min(values.length - 1, Math.ceil(view.to));
    pen.beginPath();
    let drawing = false;
    for (let sample = first; sample <= end;) {
      if (Number.isNaN(values[sample])) { drawing = false; sample++; continue; }
      if (starts.has(sample)) drawing = false;
      const at = x(sample);
      let low = values[sample], high = low, next = sample + 1;
      while (next <= end && x(next) - at < 1 && !Number.isNaN(values[next]) && !starts.has(next)) {
        low = Math.min(low, values[next]); high = Math.max(high, values[next]); next++;
      }
      if (drawing) pen.lineTo(at, y(low)); else { pen.moveTo(at - 0.6, y(low)); pen.lineTo(at, y(low)); }
      if (high > low) pen.lineTo(at, y(high));
      if (next - 1 > sample) pen.lineTo(x(next - 1), y(values[next - 1])); else pen.lineTo(at + 0.6, y(high));
      drawing = true;
      sample = next;
    }
    pen.stroke();
  };

  const cursor = ({ pen, height, x }, sample) => {
    if (sample === null) return;
    pen.fillStyle = colour("--mark");
    pen.fillRect(x(sample) - 0.5, 0, 1, height);
  };

  const drawStrip = (lane) => {
    const area = prepared(lane.canvases[0]), { pen, x, height } = area;
    ground(area, lane.raw[0]);
    pen.font = "10px system-ui, sans-serif";
    for (const [number, first, end] of lane.packed.tracks) {
      const left = x(first - 0.5), right = x(end + 0.5);
      pen.strokeStyle = pen.fillStyle = colour("--bar");
      pen.globalAlpha = 0.25;
      for (let sample = first, start = first; sample <= end + 1; sample++) {
        if (sample <= end && !Number.isNaN(lane.raw[0][sample])) { start = start === null ? sample : start; continue; }
        if (start !== null) pen.fillRect(x(start - 0.5), 3, x(sample - 0.5) - x(start - 0.5), height - 6);
        start = null;
      }
      pen.globalAlpha = 1;
      pen.strokeRect(left + 0.5, 3, Math.max(right - left - 1, 1), height - 6);
      pen.fillStyle = colour("--ink");
      if (right - left > 16) pen.fillText(number, Math.max(left, 0) + 4, height / 2 + 3.5);
    }
    cursor(area, lane.cursor);
  };

  const draw = (lane) => {
    drawStrip(lane);
    data.series.forEach((series, at) => {
      const area = prepared(lane.canvases[at + 1]), { pen, width, height } = area;
      const y = (value) => height - 3 - (value - series.low) / (series.high - series.low) * (height - 6);
      ground(area, lane.raw[at]);
      if (series.low < 0 && series.high > 0) { pen.fillStyle = colour("--line"); pen.fillRect(0, y(0), width, 1); }
      pen.strokeStyle = colour("--bar");
      pen.globalAlpha = 0.6; pen.lineWidth = 1;
      line(area, lane.raw[at], lane.starts, y);
      pen.globalAlpha = 1; pen.lineWidth = 2;
      line(area, lane.smooth[at], lane.starts, y);
      cursor(area, lane.cursor);
    });
  };

  const say = (lane) => {
    const sample = lane.cursor;
    const none = sample === null || Number.isNaN(lane.raw[0][sample]);
    lane.outputs.forEach((output, at) => {
      const { digits, unit } = data.series[at];
      output.textContent = none ? "" : number(lane.raw[at][sample], digits) + unit;
    });
    const track = none ? null : lane.packed.tracks.find(([, first, end]) => first <= sample && sample <= end);
    lane.said.textContent = sample === null ? "Point at a line to see a moment." : clock(sample) + (none ? ": no face" : `, track ${track[0]}`);
    const mine = none ? [] : lane.packed.pictures.filter(([at]) => track[1] <= at && at <= track[2]);
    lane.image.hidden = mine.length === 0;
    if (mine.length) {
      lane.image.src = mine.reduce((best, one) => Math.abs(one[0] - sample) < Math.abs(best[0] - sample) ? one : best)[1];
    }
  };

  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      document.getElementById("part").textContent = `${clock(Math.max(view.from, 0))} – ${clock(Math.min(view.to, last))}`;
      for (const lane of lanes) { draw(lane); say(lane); }
    });
  };

  // Moves the cursor of every lane: they show the same moment.
  const point = (sample) => {
    const whole = Math.min(Math.max(Math.round(sample), 0), data.samples - 1);
    for (const lane of lanes) lane.cursor = whole;
    redraw();
  };

  const show = (from, length) => {
    const least = Math.min(8, last + 1), whole = Math.min(Math.max(length, least), last + 1);
    view.from = Math.min(Math.max(from, -0.5), last + 0.5 - whole);
    view.to = view.from + whole;
    redraw();
  };

  const act = {
    back: (length) => show(view.from - length / 2, length),
    on: (length) => show(view.from + length / 2, length),
    all: () => show(-0.5, last + 1),
    in: (length) => zoom(length / 2),
    out: (length) => zoom(length * 2),
  };
  const zoom = (length) => {
    const held = lanes[0].cursor, middle = held !== null && held > view.from && held < view.to ? held : (view.from + view.to) / 2;
    show(middle - length / 2, length);
  };

  for (const button of document.querySelectorAll(".bar button")) {
    button.addEventListener("click", () => act[button.dataset.do](view.to - view.from));
  }
  for (const lane of lanes) {
    for (const canvas of lane.canvases) {
      const follow = (event) => {
        const box = canvas.getBoundingClientRect();
        point(view.from + (event.clientX - box.left) / box.width * (view.to - view.from));
      };
      canvas.addEventListener("pointermove", follow);
      canvas.addEventListener("pointerdown", follow);
    }
    lane.section.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) { event.preventDefault(); point((lane.cursor ?? -1) + step); }
    });
  }
  new ResizeObserver(redraw).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  redraw();
})();
