// Bounds of what the 3D view draws. A file comes from a provider and may be hostile: before three.js
// sees it, everything that could take unbounded time or memory, or a request to a URL, is checked here.

// Problem is an error whose message people read.
export class Problem extends Error {}

const MB = 1e6;
const most = {
  json: 16 * MB, elements: 50_000, depth: 200, draws: 5_000, copies: 100_000, triangles: 10_000_000, materials: 256, lights: 8,
  bytes: 600 * MB, images: 64, pixels: 150_000_000, morphed: 50_000_000, channels: 10_000, keys: 20_000_000,
};

// Extensions that a file may require. Those that are not listed need a decoder or are unknown.
const known = [
  'KHR_materials_anisotropy', 'KHR_materials_bump', 'KHR_materials_clearcoat', 'KHR_materials_dispersion', 'KHR_materials_emissive_strength',
  'KHR_materials_ior', 'KHR_materials_iridescence', 'KHR_materials_sheen', 'KHR_materials_specular', 'KHR_materials_transmission',
  'KHR_materials_unlit', 'KHR_materials_volume', 'KHR_mesh_quantization', 'KHR_lights_punctual', 'KHR_texture_transform',
  'EXT_materials_bump', 'EXT_mesh_gpu_instancing', 'EXT_texture_webp', 'EXT_texture_avif', 'KHR_xmp_json_ld',
];
const compressed = {KHR_draco_mesh_compression: 'Draco', EXT_meshopt_compression: 'meshopt', KHR_meshopt_compression: 'meshopt', KHR_texture_basisu: 'Basis Universal'};

const components = {SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4, MAT2: 4, MAT3: 9, MAT4: 16};
const widths = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4};

const invalid = (why) => new Problem(`This is not a valid glTF file: ${why}.`);

const within = (value, limit, what) => {
  if (value > limit) throw new Problem(`The file has ${value.toLocaleString('en')} ${what}. The 3D view takes at most ${limit.toLocaleString('en')}.`);
};

// list returns a list of objects of the file; it is empty if the file has none.
const list = (of, name) => {
  const value = of[name] ?? [];
  if (!Array.isArray(value) || value.some((v) => v === null || typeof v !== 'object')) throw invalid(`${name} is not a list of objects`);
  within(value.length, most.elements, name);
  return value;
};

// at returns an element by its index in the file.
const at = (all, index, what) => {
  if (!Number.isInteger(index) || index < 0 || index >= all.length) throw invalid(`${what} ${String(index).slice(0, 20)} is missing`);
  return all[index];
};

// split returns the two parts of a binary glTF file: its JSON and its buffer.
export function split(data) {
  const view = new DataView(data);
  if (data.byteLength < 20 || view.getUint32(0, true) !== 0x46546c67) throw invalid('it does not begin with "glTF"');
  if (view.getUint32(4, true) !== 2) throw new Problem(`This is glTF version ${view.getUint32(4, true)}. The 3D view reads version 2.`);
  if (view.getUint32(8, true) > data.byteLength) throw invalid(`its header says ${view.getUint32(8, true).toLocaleString('en')} bytes, and it has ${data.byteLength.toLocaleString('en')}`);
  let json, body;
  for (let from = 12; from + 8 <= data.byteLength && !(json && body);) {
    const size = view.getUint32(from, true), kind = view.getUint32(from + 4, true);
    if (from + 8 + size > data.byteLength) throw invalid('a part of it is cut off');
    if (kind === 0x4e4f534a) {
      within(size, most.json, 'bytes of JSON');
      try {
        json = JSON.parse(new TextDecoder().decode(new Uint8Array(data, from + 8, size)));
      } catch {
        throw invalid('its JSON cannot be read');
      }
    } else if (kind === 0x004e4942) body = data.slice(from + 8, from + 8 + size);
    from += 8 + size + (4 - size % 4) % 4;
  }
  if (json === null || typeof json !== 'object' || Array.isArray(json)) throw invalid('it has no JSON object');
  return {json, body: body ?? new ArrayBuffer(0)};
}

// check throws a Problem if the file is broken or beyond the bounds. It returns what the file has, in words,
// and leaves out extensions that a file has for other programs.
export function check(json) {
  if (!/^2(\.|$)/.test(json.asset?.version)) throw new Problem('The 3D view reads glTF version 2.');
  const required = json.extensionsRequired ?? [];
  if (!Array.isArray(required)) throw invalid('extensionsRequired is not a list');
  for (const name of required) {
    if (compressed[name]) throw new Problem(`The file is compressed with ${compressed[name]}, which the 3D view does not read. Download it to open it in another program.`);
    if (!known.includes(name)) throw new Problem(`The file needs the glTF extension ${String(name).slice(0, 60)}, which the 3D view does not have.`);
  }
  if (Array.isArray(json.extensionsUsed)) json.extensionsUsed = json.extensionsUsed.filter((name) => known.includes(name));
  for (const of of ['buffers', 'images']) {
    for (const part of list(json, of)) if (part.uri !== undefined) throw new Problem('The file refers to other files. The 3D view reads files that contain everything.');
  }
  const sizes = accessors(json), drawn = scene(json, sizes);
  const materials = list(json, 'materials').length, textures = list(json, 'textures').length;
  within(materials, most.materials, 'materials');
  within(list(json, 'images').length, most.images, 'images');
  within(list(json.extensions?.KHR_lights_punctual ?? {}, 'lights').length, most.lights, 'lights');
  const motions = animations(json, sizes);
  const count = (n, one, many) => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
  return [count(drawn, 'triangle', 'triangles'), materials && count(materials, 'material', 'materials'), textures && count(textures, 'texture', 'textures'),
    motions && count(motions, 'animation', 'animations')].filter(Boolean).join(' · ');
}

// accessors returns the number of elements of each accessor, and bounds their memory.
function accessors(json) {
  let bytes = 0;
  for (const view of list(json, 'bufferViews')) if (view.extensions) delete view.extensions; // compressed forms
  return list(json, 'accessors').map((a) => {
    if (!Number.isInteger(a.count) || a.count < 0 || !components[a.type] || !widths[a.componentType]) throw invalid('an accessor has no count or type');
    bytes += a.count * components[a.type] * widths[a.componentType];
    within(bytes, most.bytes, 'bytes of geometry');
    return a.count;
  });
}

// scene walks the nodes of the scene, and returns the triangles that a picture of it has.
function scene(json, sizes) {
  const nodes = list(json, 'nodes'), meshes = list(json, 'meshes').map((mesh) => meshOf(mesh, sizes));
  const scenes = list(json, 'scenes');
  if (!scenes.length) throw invalid('it has no scene');
  if (json.scene !== undefined) at(scenes, json.scene, 'scene');
  let visits = 0, draws = 0, copies = 0, triangles = 0, lights = 0;
  for (const one of scenes) {
    const seen = new Set(), open = children(one, 'nodes').map((index) => [index, 1]);
    while (open.length) {
      const [index, depth] = open.pop(), node = at(nodes, index, 'node');
      if (seen.has(index)) throw invalid(`node ${index} is in the scene twice`);
      seen.add(index);
      within(++visits, most.elements, 'nodes');
      within(depth, most.depth, 'levels of nodes');
      for (const child of children(node, 'children')) open.push([child, depth + 1]);
      if (node.extensions?.KHR_lights_punctual) within(++lights, most.lights, 'lights');
      if (node.mesh === undefined) continue;
      const mesh = at(meshes, node.mesh, 'mesh'), by = Object.values(node.extensions?.EXT_mesh_gpu_instancing?.attributes ?? {});
      const n = Math.max(1, ...by.map((accessor) => at(sizes, accessor, 'accessor')));
      draws += mesh.draws;
      copies += n;
      triangles += mesh.triangles * n;
      within(draws, most.draws, 'parts to draw');
      within(copies, most.copies, 'copies of meshes');
      within(triangles, most.triangles, 'triangles');
    }
  }
  return triangles;
}

// children returns a list of indexes of the file.
function children(of, name) {
  const value = of[name] ?? [];
  if (!Array.isArray(value)) throw invalid(`${name} is not a list`);
  return value;
}

// meshOf counts the parts and triangles of a mesh.
function meshOf(mesh, sizes) {
  let triangles = 0, morphed = 0;
  const parts = list(mesh, 'primitives');
  for (const part of parts) {
    if (part.extensions?.KHR_draco_mesh_compression) delete part.extensions.KHR_draco_mesh_compression; // has a plain form, too
    const points = at(sizes, part.attributes?.POSITION, 'accessor');
    triangles += Math.floor((part.indices === undefined ? points : at(sizes, part.indices, 'accessor')) / ([5, 6].includes(part.mode) ? 1 : 3));
    morphed += points * list(part, 'targets').length;
    within(morphed, most.morphed, 'points of morph targets');
  }
  return {draws: parts.length, triangles};
}

// animations bounds the keys of all animations, and returns their number.
function animations(json, sizes) {
  const all = list(json, 'animations');
  let channels = 0, keys = 0;
  for (const motion of all) {
    const samplers = list(motion, 'samplers');
    for (const channel of list(motion, 'channels')) {
      within(++channels, most.channels, 'channels of animations');
      keys += at(sizes, at(samplers, channel.sampler, 'sampler').output, 'accessor');
      within(keys, most.keys, 'keys of animations');
    }
  }
  return all.length;
}

// Pixels counts the pixels of a file's images.
export class Pixels {
  all = 0;

  // take throws if a picture is of an unknown format, or there are too many pixels. An image of a few
  // kilobytes can have a billion.
  take(bytes) {
    const [width, height] = dimensions(bytes);
    this.all += width * height;
    within(this.all, most.pixels, 'pixels of textures');
  }
}

// dimensions reads the size of a PNG, JPEG or WebP image from its head.
function dimensions(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), ascii = (from, text) => [...text].every((c, i) => bytes[from + i] === c.charCodeAt(0));
  if (ascii(1, 'PNG') && ascii(12, 'IHDR')) return [view.getUint32(16), view.getUint32(20)];
  if (ascii(0, 'RIFF') && ascii(8, 'WEBPVP8X')) return [1 + (view.getUint32(24, true) & 0xffffff), 1 + (view.getUint32(26, true) >>> 8)];
  if (ascii(0, 'RIFF') && ascii(8, 'WEBPVP8L')) return [1 + (view.getUint32(21, true) & 0x3fff), 1 + (view.getUint32(21, true) >>> 14 & 0x3fff)];
  if (ascii(0, 'RIFF') && ascii(8, 'WEBPVP8 ')) return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
  for (let from = 2; bytes[0] === 0xff && bytes[1] === 0xd8 && from + 9 < bytes.length; from += 2 + view.getUint16(from + 2)) {
    const marker = bytes[from + 1];
    if (bytes[from] !== 0xff) break;
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return [view.getUint16(from + 7), view.getUint16(from + 5)];
  }
  throw new Problem('a texture is no PNG, JPEG or WebP image');
}
