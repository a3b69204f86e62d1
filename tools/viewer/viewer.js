// The 3D view of the console: draws a glTF file (.glb) into an element of class "model", which has its URL
// and size, a poster and a line for messages. The script build bundles it with three.js.
import {AnimationMixer, Box3, NeutralToneMapping, PerspectiveCamera, PMREMGenerator, Scene, Sphere, Spherical, Texture, Timer, Vector3, WebGLRenderer} from 'three';
import {OrbitControls} from 'three/addons/controls/OrbitControls.js';
import {RoomEnvironment} from 'three/addons/environments/RoomEnvironment.js';
import {GLTFLoader} from 'three/addons/loaders/GLTFLoader.js';
import {check, Pixels, Problem, split} from './bounds.js';

const patience = 30_000; // ms, for reading a file that is here

// view draws the file of el. It ends with the event gaff-end of el, or when el has left the page.
export async function view(el) {
  const status = el.querySelector('[role=status]'), end = new AbortController();
  el.addEventListener('gaff-end', () => end.abort(), {once: true});
  let stage;
  try {
    stage = new Stage(el, end.signal);
    const data = await read(el.dataset.model, Number(el.dataset.size), end.signal, (part) => { status.textContent = `Loading the 3D view… ${Math.floor(part * 10) * 10} %`; });
    const {json, body} = split(data), facts = check(json);
    const {file, missing} = await soon(parse(json, body), 'reading the file takes too long');
    await stage.show(file);
    el.dataset.drawn = '1';
    status.textContent = facts + (missing ? ` · ${missing} could not be read` : '');
  } catch (err) {
    stage?.end();
    if (end.signal.aborted) return;
    el.dataset.failed = '1';
    status.textContent = `No 3D view. ${err instanceof Problem ? err.message : `The file cannot be drawn: ${String(err?.message ?? err).replace('THREE.', '').slice(0, 200)}.`}`;
  }
}

// read fetches a file of at most size bytes.
async function read(url, size, signal, progress) {
  let answer;
  try {
    answer = await fetch(url, {signal});
  } catch (err) {
    throw signal.aborted ? err : new Problem('The gateway does not answer.');
  }
  if (!answer.ok) throw new Problem(`The gateway answered ${answer.status} for the file.`);
  const parts = answer.body.getReader(), data = new Uint8Array(size);
  for (let got = 0; ;) {
    const {done, value} = await parts.read();
    if (done) {
      if (got < size) throw new Problem('The file is shorter than it should be.');
      return data.buffer;
    }
    if (got + value.length > size) {
      parts.cancel();
      throw new Problem('The file is longer than it should be.');
    }
    data.set(value, got);
    got += value.length;
    progress(got / size);
  }
}

// parse makes a scene of a file. Everything is in the file: no URL is fetched.
async function parse(json, body) {
  let missing = 0;
  const pixels = new Pixels(), images = new Map();
  const image = async (parser, index) => {
    const def = json.images[index], bytes = new Uint8Array(await parser.getDependency('bufferView', def.bufferView));
    pixels.take(bytes);
    const bitmap = await createImageBitmap(new Blob([bytes], {type: def.mimeType}), {premultiplyAlpha: 'none', colorSpaceConversion: 'none'});
    const texture = new Texture(bitmap);
    texture.needsUpdate = true;
    return texture;
  };
  const loader = new GLTFLoader();
  loader.register((parser) => {
    parser.loadBuffer = async (index) => {
      if (index !== 0) throw new Problem('The file refers to other files.');
      return body;
    };
    parser.loadImageSource = (index) => {
      if (!images.has(index)) images.set(index, image(parser, index).catch((err) => { missing++; throw err; }));
      return images.get(index).then((texture) => texture.clone());
    };
    return {name: 'gaff'};
  });
  const file = await loader.parseAsync(json, '');
  return {file, missing: missing && (missing === 1 ? 'a texture' : `${missing} textures`)};
}

// soon rejects if a promise takes longer than patience.
function soon(promise, why) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(why)), patience); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const help = 'Drag to turn, scroll to zoom. Keys: arrows turn, plus and minus zoom, 0 resets.';

// Stage is a canvas with its camera and buttons. It draws only after a change.
class Stage {
  constructor(el, signal) {
    this.el = el;
    const canvas = document.createElement('canvas');
    try {
      this.renderer = new WebGLRenderer({canvas, antialias: true, alpha: true});
    } catch {
      throw new Problem('This browser has no WebGL, or it is turned off. Download the file to open it in another program.');
    }
    this.canvas = canvas;
    canvas.tabIndex = 0;
    canvas.setAttribute('role', 'application');
    canvas.setAttribute('aria-roledescription', '3D view');
    canvas.setAttribute('aria-label', `${el.dataset.name}. ${help}`);
    canvas.title = help;
    this.renderer.toneMapping = NeutralToneMapping;
    this.camera = new PerspectiveCamera(35, 1, 0.01, 100);
    this.scene = new Scene();
    this.mixer = null;
    signal.addEventListener('abort', () => this.end());
    canvas.addEventListener('webglcontextlost', (e) => {
      e.preventDefault();
      if (this.ended) return;
      this.end();
      el.dataset.failed = '1';
      el.querySelector('[role=status]').textContent = 'The 3D view was ended by the browser, which ran out of graphics memory. Load the page again to see it.';
    });
  }

  // show puts a file into the view, with the camera before it.
  async show(file) {
    const sphere = new Box3().setFromObject(file.scene).getBoundingSphere(new Sphere());
    if (!(sphere.radius > 0 && Number.isFinite(sphere.radius))) throw new Problem('The file has nothing to draw.');
    const room = new RoomEnvironment(), light = new PMREMGenerator(this.renderer);
    this.scene.environment = light.fromScene(room, 0.04).texture;
    this.scene.environmentIntensity = 0.7;
    light.dispose();
    room.dispose();
    file.scene.position.sub(sphere.center);
    this.scene.add(file.scene);
    this.radius = sphere.radius;
    this.camera.near = sphere.radius / 100;
    this.camera.far = sphere.radius * 40;
    await soon(this.renderer.compileAsync(this.scene, this.camera), 'the graphics driver takes too long');
    if (this.ended) return;
    this.controls = new OrbitControls(this.camera, this.canvas);
    this.controls.minDistance = sphere.radius * 0.3;
    this.controls.maxDistance = sphere.radius * 15;
    this.controls.addEventListener('change', () => this.draw());
    const alone = this.el.closest('dialog') !== null;
    // In a page, the wheel and vertical swipes scroll the page until the view has the focus.
    this.controls.enableZoom = alone;
    if (!alone) {
      this.canvas.style.touchAction = 'pan-y';
      this.canvas.addEventListener('focus', () => { this.controls.enableZoom = true; });
      this.canvas.addEventListener('blur', () => { this.controls.enableZoom = false; });
    }
    this.canvas.addEventListener('pointerdown', () => this.canvas.focus({preventScroll: true}));
    this.canvas.addEventListener('keydown', (e) => this.key(e));
    this.el.prepend(this.canvas);
    this.tools(file.animations);
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(this.canvas);
    this.fit();
    this.reset();
  }

  // tools adds the buttons, and the one that plays the first animation.
  tools(animations) {
    const bar = document.createElement('div');
    bar.className = 'tools';
    bar.setAttribute('role', 'group');
    bar.setAttribute('aria-label', '3D view');
    const button = (text, name, does) => {
      const b = document.createElement('button');
      b.type = 'button';
      b.textContent = text;
      if (name) { b.setAttribute('aria-label', name); b.title = name; }
      b.addEventListener('click', does);
      bar.append(b);
      return b;
    };
    button('←', 'Turn left', () => this.turn(-0.4, 0, 1));
    button('→', 'Turn right', () => this.turn(0.4, 0, 1));
    button('+', 'Zoom in', () => this.turn(0, 0, 0.8));
    button('−', 'Zoom out', () => this.turn(0, 0, 1.25));
    button('Reset', '', () => this.reset());
    if (animations.length) {
      this.mixer = new AnimationMixer(this.scene);
      const action = this.mixer.clipAction(animations[0], this.scene), play = button('Play', '', () => {
        this.timer = this.timer ? null : new Timer();
        if (this.timer) action.play();
        play.textContent = this.timer ? 'Pause' : 'Play';
        this.draw();
      });
    }
    this.canvas.after(bar);
  }

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const by = {ArrowLeft: [-0.15, 0, 1], ArrowRight: [0.15, 0, 1], ArrowUp: [0, -0.15, 1], ArrowDown: [0, 0.15, 1], '+': [0, 0, 0.9], '=': [0, 0, 0.9], '-': [0, 0, 1.1]}[e.key];
    if (by) this.turn(...by);
    else if (e.key === '0') this.reset();
    else return;
    e.preventDefault();
    e.stopPropagation();
  }

  reset() {
    const distance = this.radius / Math.sin(this.camera.fov * Math.PI / 360) / Math.min(1, this.camera.aspect) * 1.05;
    this.camera.position.copy(new Vector3().setFromSphericalCoords(distance, 1.2, 0.6));
    this.controls.target.set(0, 0, 0);
    this.controls.update();
    this.draw();
  }

  // turn moves the camera around the target: angles in radians, and a factor of the distance.
  turn(sideways, down, factor) {
    const {target, minDistance, maxDistance} = this.controls, around = new Spherical().setFromVector3(this.camera.position.clone().sub(target));
    around.theta += sideways;
    around.phi += down;
    around.radius = Math.min(Math.max(around.radius * factor, minDistance), maxDistance);
    this.camera.position.copy(target).add(new Vector3().setFromSpherical(around.makeSafe()));
    this.controls.update();
    this.draw();
  }

  fit() {
    const {clientWidth, clientHeight} = this.canvas;
    if (!clientWidth || !clientHeight) return;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.setSize(clientWidth, clientHeight, false);
    this.camera.aspect = clientWidth / clientHeight;
    this.camera.updateProjectionMatrix();
    this.draw();
  }

  // draw draws the next frame, and those of a running animation.
  draw() {
    if (this.pending || this.ended) return;
    this.pending = requestAnimationFrame((now) => {
      this.pending = 0;
      if (!this.canvas.isConnected) { this.end(); return; }
      if (this.timer) {
        this.timer.update(now);
        this.mixer.update(Math.min(this.timer.getDelta(), 0.1));
        this.draw();
      }
      this.renderer.render(this.scene, this.camera);
    });
  }

  // end frees the graphics memory: browsers allow few such canvases.
  end() {
    if (this.ended) return;
    this.ended = true;
    cancelAnimationFrame(this.pending);
    this.sizes?.disconnect();
    this.controls?.dispose();
    this.el.querySelector('.tools')?.remove();
    this.canvas.remove();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }
}
