"use strict";
// The structure: balls and sticks on a plain canvas, painted from back to front.
(function () {
  const scene = JSON.parse(document.getElementById("molecule").textContent);
  const box = document.getElementById("viewer");
  if (!box) return;
  const canvas = document.getElementById("scene");
  const pen = canvas.getContext("2d");
  const COLORS = { H: "#e9edf2", C: "#6f7a89", N: "#3b6fd8", O: "#dd3c3c", F: "#55b84a", S: "#d9a914", P: "#e0812b",
    Cl: "#3fae49", Br: "#9a4b2f", I: "#7a3d99", Na: "#8a63d2", K: "#8f5bd0", Mg: "#3c9a5f", Ca: "#5b8f3c",
    Zn: "#7d80b0", Fe: "#c0672d", Si: "#c9a27a", B: "#e3a08f" };
  const RADII = { H: 26, C: 40, N: 38, O: 37, F: 34, S: 50, P: 50, Cl: 48 };
  const mass = scene.region;
  let frame = 0, byDeviation = false, around = true, playing = null, zoom = 1;
  let turn = [1, 0, 0, 0, 1, 0, 0, 0, 1];

  function element(symbol) { return COLORS[symbol] || "#c06bb5"; }
  function radius(symbol) { return RADII[symbol] || 46; }

  const top = scene.sigma ? Math.max(...scene.sigma) : 1;
  function ramp(value) {
    const stops = [[62, 110, 190], [222, 222, 226], [205, 50, 72]];
    const place = Math.max(0, Math.min(1, value / top)) * 2;
    const low = Math.min(1, Math.floor(place)), part = place - low;
    const mix = stops[low].map((start, k) => Math.round(start + part * (stops[low + 1][k] - start)));
    return "rgb(" + mix.join(",") + ")";
  }
  function atomColor(index) {
    return byDeviation && scene.sigma && index < mass ? ramp(scene.sigma[index]) : element(scene.elements[index]);
  }

  // Spheres are drawn once for each colour and then scaled.
  const sprites = new Map();
  function sprite(color) {
    if (sprites.has(color)) return sprites.get(color);
    const size = 96, picture = document.createElement("canvas");
    picture.width = picture.height = size;
    const ink = picture.getContext("2d");
    const shade = ink.createRadialGradient(size * 0.36, size * 0.32, size * 0.03, size * 0.5, size * 0.5, size * 0.5);
    shade.addColorStop(0, "rgba(255,255,255,.85)");
    shade.addColorStop(0.28, "rgba(255,255,255,.12)");
    shade.addColorStop(0.7, "rgba(0,0,0,.10)");
    shade.addColorStop(1, "rgba(0,0,0,.50)");
    ink.beginPath();
    ink.arc(size / 2, size / 2, size / 2 - 1, 0, 2 * Math.PI);
    ink.fillStyle = color;
    ink.fill();
    ink.fillStyle = shade;
    ink.fill();
    sprites.set(color, picture);
    return picture;
  }

  // Principal axes of the first frame, so that the widest view comes first.
  function multiply(a, b) {
    const c = new Array(9).fill(0);
    for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) for (let k = 0; k < 3; k++) c[3 * i + j] += a[3 * i + k] * b[3 * k + j];
    return c;
  }
  function rotation(axis, angle) {
    const c = Math.cos(angle), s = Math.sin(angle);
    return axis === "x" ? [1, 0, 0, 0, c, -s, 0, s, c] : axis === "y" ? [c, 0, s, 0, 1, 0, -s, 0, c] : [c, -s, 0, s, c, 0, 0, 0, 1];
  }
  function orient() {
    const x = scene.frames[0].x, m = new Array(9).fill(0);
    for (let a = 0; a < mass; a++) for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) m[3 * i + j] += x[3 * a + i] * x[3 * a + j];
    let v = [1, 0.3, 0.1], w = [0.1, 1, 0.4];
    const apply = (u) => [0, 1, 2].map((i) => m[3 * i] * u[0] + m[3 * i + 1] * u[1] + m[3 * i + 2] * u[2]);
    const unit = (u) => { const n = Math.hypot(...u) || 1; return u.map((y) => y / n); };
    const less = (u, b) => { const d = u[0] * b[0] + u[1] * b[1] + u[2] * b[2]; return u.map((y, i) => y - d * b[i]); };
    for (let k = 0; k < 60; k++) { v = unit(apply(v)); w = unit(less(apply(w), v)); }
    const n = [v[1] * w[2] - v[2] * w[1], v[2] * w[0] - v[0] * w[2], v[0] * w[1] - v[1] * w[0]];
    turn = multiply(rotation("x", -0.35), [...v, ...w, ...n]);
  }

  function project(flat, index, view) {
    const x = flat[3 * index], y = flat[3 * index + 1], z = flat[3 * index + 2];
    const depth = turn[6] * x + turn[7] * y + turn[8] * z;
    const scale = view.scale * view.eye / (view.eye - depth);
    return { x: view.x + scale * (turn[0] * x + turn[1] * y + turn[2] * z),
      y: view.y - scale * (turn[3] * x + turn[4] * y + turn[5] * z), z: depth, s: scale };
  }

  let extent = 100;
  for (const one of scene.frames) {
    for (let a = 0; a < 3 * mass; a += 3) extent = Math.max(extent, Math.hypot(one.x[a], one.x[a + 1], one.x[a + 2]));
  }

  function stick(from, to, colorFrom, colorTo, width, fog, dashed) {
    const middle = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 };
    pen.globalAlpha = fog;
    pen.lineCap = "round";
    pen.setLineDash(dashed ? [width * 1.2, width * 1.6] : []);
    if (!dashed && width > 3) {
      pen.lineWidth = width + 1.4;
      pen.strokeStyle = "rgba(20,28,40,.55)";
      pen.beginPath(); pen.moveTo(from.x, from.y); pen.lineTo(to.x, to.y); pen.stroke();
    }
    pen.lineWidth = width;
    for (const [end, color] of [[from, colorFrom], [to, colorTo]]) {
      pen.strokeStyle = color;
      pen.beginPath(); pen.moveTo(end.x, end.y); pen.lineTo(middle.x, middle.y); pen.stroke();
    }
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  }

  function paint() {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const reach = extent + 60;
    const view = { x: width / 2, y: height / 2, scale: zoom * Math.min(width / 2.5, height / 2) / reach, eye: 5 * reach };
    const now = scene.frames[frame], items = [];
    const core = scene.elements.map((_, index) => project(now.x, index, view));
    const far = (z) => Math.max(0.25, Math.min(1, 0.72 + 0.42 * z / (reach + 200)));
    scene.elements.forEach((symbol, index) => {
      if (index < mass) items.push({ z: core[index].z, kind: "ball", at: core[index], color: atomColor(index), r: radius(symbol) });
    });
    for (const [i, j] of scene.bonds) {
      const inside = i < mass && j < mass;
      if (!inside && !around && !(i < mass || j < mass)) continue;
      items.push({ z: (core[i].z + core[j].z) / 2 - 4, kind: "stick", a: core[i], b: core[j], ca: atomColor(i), cb: atomColor(j),
        w: inside ? 15 : 8, fade: inside ? 1 : 0.55 });
    }
    scene.links.forEach(([q], index) => {
      const cap = project(now.c, index, view);
      items.push({ z: cap.z + 2, kind: "ball", at: cap, color: "#f4b942", r: 26 });
      items.push({ z: cap.z, kind: "stick", a: core[q], b: cap, ca: "#f4b942", cb: "#f4b942", w: 6, fade: 1, dashed: true });
    });
    if (around) {
      for (let k = 0; k < now.n; k++) {
        const [o, g, h] = [0, 1, 2].map((part) => project(now.w, 3 * k + part, view));
        for (const end of [g, h]) items.push({ z: (o.z + end.z) / 2, kind: "stick", a: o, b: end, ca: element("O"), cb: page.color("muted"), w: 6, fade: 0.62 });
      }
    }
    items.sort((first, second) => first.z - second.z);
    const back = page.color("card");
    for (const item of items) {
      if (item.kind === "ball") {
        const r = item.r * item.at.s;
        pen.drawImage(sprite(item.color), item.at.x - r, item.at.y - r, 2 * r, 2 * r);
        const fog = Math.min(0.45, 1 - far(item.z));
        if (fog > 0.02) {
          pen.globalAlpha = fog;
          pen.fillStyle = back;
          pen.beginPath(); pen.arc(item.at.x, item.at.y, r, 0, 2 * Math.PI); pen.fill();
          pen.globalAlpha = 1;
        }
      } else {
        stick(item.a, item.b, item.ca, item.cb, Math.max(1.2, item.w * view.scale), far(item.z) * item.fade, item.dashed);
      }
    }
    canvas.dataset.painted = String(items.length);
  }

  const slider = document.getElementById("frame"), when = document.getElementById("when");
  const play = document.getElementById("play"), key = document.getElementById("key");
  function show(index) {
    frame = index;
    slider.value = String(index);
    const t = scene.frames[index].t;
    when.textContent = scene.frames.length > 1 ? t.toPrecision(4).replace(/\.?0+$/, "") + " ps" : "one frame";
    paint();
  }
  function legend() {
    const dot = (color, text) => '<span><i style="background:' + color + '"></i>' + text + "</span>";
    const parts = [];
    if (byDeviation) {
      const stops = [0, 0.5, 1].map((part) => ramp(part * top)).join(",");
      parts.push('<span>σ of the force: 0 <i class="bar" style="background:linear-gradient(90deg,' + stops + ')"></i>' +
        top.toPrecision(3) + " kJ/mol/nm</span>");
    } else {
      for (const symbol of [...new Set(scene.elements.slice(0, mass))]) parts.push(dot(element(symbol), symbol));
    }
    if (scene.links.length) parts.push(dot("#f4b942", "link hydrogen"));
    if (around && scene.frames[0].n) parts.push("<span>water within 0.35 nm</span>");
    key.innerHTML = parts.join("");
  }
  function stop() {
    if (playing) clearInterval(playing);
    playing = null;
    play.textContent = "play";
  }
  slider.max = String(scene.frames.length - 1);
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  play.addEventListener("click", () => {
    if (playing) return stop();
    play.textContent = "pause";
    playing = setInterval(() => show((frame + 1) % scene.frames.length), 120);
  });
  if (scene.frames.length < 2) { play.hidden = true; slider.hidden = true; }
  const colors = document.getElementById("colors"), surroundings = document.getElementById("around");
  colors.hidden = !scene.sigma;
  colors.addEventListener("click", () => {
    byDeviation = !byDeviation;
    colors.textContent = byDeviation ? "colour by element" : "colour by σ";
    legend(); paint();
  });
  surroundings.hidden = !scene.frames.some((one) => one.n) && scene.elements.length === mass;
  surroundings.addEventListener("click", () => {
    around = !around;
    surroundings.textContent = around ? "hide surroundings" : "show surroundings";
    legend(); paint();
  });
  function magnify(factor) { zoom = Math.max(0.3, Math.min(6, zoom * factor)); paint(); }
  document.getElementById("closer").addEventListener("click", () => magnify(1.25));
  document.getElementById("farther").addEventListener("click", () => magnify(0.8));
  let grip = null;
  canvas.addEventListener("pointerdown", (event) => { grip = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const dx = event.clientX - grip[0], dy = event.clientY - grip[1];
    grip = [event.clientX, event.clientY];
    turn = multiply(multiply(rotation("x", dy * 0.01), rotation("y", dx * 0.01)), turn);
    paint();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { grip = null; });
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return; // the page scrolls until the picture is touched
    event.preventDefault();
    magnify(Math.exp(-event.deltaY * 0.001));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const turns = { ArrowLeft: ["y", -0.1], ArrowRight: ["y", 0.1], ArrowUp: ["x", -0.1], ArrowDown: ["x", 0.1] };
    if (event.key in turns) { event.preventDefault(); turn = multiply(rotation(...turns[event.key]), turn); paint(); }
    if (event.key === "+" || event.key === "-") magnify(event.key === "+" ? 1.25 : 0.8);
  });
  new ResizeObserver(() => paint()).observe(canvas);
  page.listeners.push(paint);
  orient();
  legend();
  show(0);
})();
