//go:build !slim

package ui_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	bytesof "encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"gaff/internal/browsertest"
)

// glb returns a binary glTF file.
func glb(scene string, body []byte) []byte {
	for len(scene)%4 != 0 {
		scene += " "
	}
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	b := append([]byte("glTF"), 2, 0, 0, 0)
	b = bytesof.LittleEndian.AppendUint32(b, uint32(12+8+len(scene)+8+len(body)))
	b = append(bytesof.LittleEndian.AppendUint32(b, uint32(len(scene))), "JSON"...)
	b = append(b, scene...)
	b = append(bytesof.LittleEndian.AppendUint32(b, uint32(len(body))), "BIN\x00"...)
	return append(b, body...)
}

// redPNG returns a PNG of one color. It may say that it is larger than it is.
func redPNG(t *testing.T, side uint32) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 4, 4))
	for i := range img.Pix {
		img.Pix[i] = []byte{255, 0, 0, 255}[i%4]
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	if side > 0 {
		bytesof.BigEndian.PutUint32(b.Bytes()[16:], side)
		bytesof.BigEndian.PutUint32(b.Bytes()[20:], side)
	}
	return b.Bytes()
}

// redSquare is a red square that moves when it is played: geometry, a texture and an animation.
func redSquare(t *testing.T, side uint32) []byte {
	t.Helper()
	var body []byte
	for _, v := range []float32{-1, -1, 0, 1, -1, 0, 1, 1, 0, -1, -1, 0, 1, 1, 0, -1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0} {
		body = bytesof.LittleEndian.AppendUint32(body, math.Float32bits(v))
	}
	skin := redPNG(t, side)
	return glb(fmt.Sprintf(`{"asset":{"version":"2.0"},"scene":0,"scenes":[{"nodes":[0]}],"nodes":[{"mesh":0}],
		"meshes":[{"primitives":[{"attributes":{"POSITION":0,"TEXCOORD_0":1},"material":0}]}],
		"materials":[{"doubleSided":true,"pbrMetallicRoughness":{"metallicFactor":0,"baseColorTexture":{"index":0}}}],
		"textures":[{"source":0}],"images":[{"bufferView":1,"mimeType":"image/png"}],
		"animations":[{"channels":[{"sampler":0,"target":{"node":0,"path":"translation"}}],"samplers":[{"input":2,"output":3}]}],
		"buffers":[{"byteLength":%d}],"bufferViews":[{"buffer":0,"byteLength":152},{"buffer":0,"byteOffset":152,"byteLength":%d}],
		"accessors":[{"bufferView":0,"componentType":5126,"count":6,"type":"VEC3","min":[-1,-1,0],"max":[1,1,0]},
			{"bufferView":0,"byteOffset":72,"componentType":5126,"count":6,"type":"VEC2"},
			{"bufferView":0,"byteOffset":120,"componentType":5126,"count":2,"type":"SCALAR","min":[0],"max":[1]},
			{"bufferView":0,"byteOffset":128,"componentType":5126,"count":2,"type":"VEC3"}]}`, 152+len(skin), len(skin)), append(body, skin...))
}

// colors counts the pixels of an element on the screen that differ from its first one, and those that are red.
func (w *window) colors(selector string) (other, red int) {
	w.Helper()
	box := result[[]float64](w, `(() => { const r = document.querySelector('`+selector+`').getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom] })()`)
	data, err := ask(w, chromedp.CaptureScreenshot())
	if err != nil {
		w.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		w.Fatal(err)
	}
	ground := color.RGBAModel.Convert(img.At(int(box[0])+20, int(box[1])+20)).(color.RGBA)
	for y := int(box[1]) + 8; y < min(int(box[3])-8, img.Bounds().Max.Y); y++ {
		for x := int(box[0]) + 8; x < int(box[2])-8; x++ {
			c := color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)
			if c != ground {
				other++
			}
			if int(c.R) > 2*int(c.G)+20 && int(c.R) > 2*int(c.B)+20 {
				red++
			}
		}
	}
	return other, red
}

// A model that the provider calls application/octet-stream: in the contact sheet, on its own page, and in
// the lightbox, with the mouse and with keys.
func TestBrowserModelIsDrawn(t *testing.T) {
	t.Parallel()
	d := startDev(t, t.TempDir(), "--samples=false")
	id := d.job(t, "fal-ai/trellis", map[string]any{"prompt": "A bollard"})
	d.until(t, " stored ", 1, "media", "list")
	win, script := d.open(t, 1280, 860, false), axe(t)
	win.login()
	for _, page := range []string{"/media", "/jobs/" + id} {
		win.goTo(page)
		win.eventually("the file can be opened", `document.querySelector('figure[data-light=model] .frame') !== null`)
		win.eventually("the view is not loaded before it is shown", `!performance.getEntriesByType('resource').some(r => r.name.endsWith('/viewer.js'))`)
		// A click is lost if the live page is redrawn between its press and its release.
		win.eventually("the lightbox opens", `document.querySelector('dialog.light[open]') !== null || (document.querySelector('figure[data-light=model] .frame').click(), false)`)
		win.run(chromedp.WaitVisible(chromedp.CSS(`dialog.light .model[data-drawn] canvas`)))
		win.eventually("facts", `document.querySelector('.light [role=status]').textContent.startsWith('1 triangle')`)
		win.accessible("the lightbox of "+page, script)
		win.run(click(`.light [data-shut]`))
		win.eventually("the view has ended", `document.querySelector('.light canvas') === null`)
	}
	win.run(click(`.gallery figcaption a`), chromedp.WaitVisible(chromedp.CSS(`.stage .model[data-drawn] canvas`)))
	win.eventually("drawn", `document.querySelector('.stage canvas').width > 300`)
	if other, _ := win.colors(".stage canvas"); other < 2000 {
		win.shot("failed-model")
		t.Errorf("%d pixels of the model", other)
	}
	for i, form := range []struct {
		name  string
		width int64
		dark  bool
	}{{"light", 1280, false}, {"dark", 1280, true}, {"phone", 390, false}} {
		one := d.open(t, form.width, 860, form.dark)
		one.login()
		one.goTo(result[string](win, `location.pathname`))
		one.run(chromedp.WaitVisible(chromedp.CSS(`.model[data-drawn] canvas`)))
		one.accessible("a model, "+form.name, script)
		if i > 0 && *pictures != "" {
			one.shot("model-" + form.name)
		}
	}
}

// files has one page of the console draw many files.
type files struct{ *window }

func newFiles(t *testing.T) files {
	t.Helper()
	win := newWorld(t).open(t, 1280, 860, false)
	win.login()
	win.goTo("/media")
	return files{win}
}

// draw draws a file, and returns what the view says then.
func (f files) draw(file []byte) string {
	f.Helper()
	f.run(evaluate(`(() => {
		const bytes = Uint8Array.from(atob('` + base64.StdEncoding.EncodeToString(file) + `'), c => c.charCodeAt(0));
		window.fetch = async () => new Response(bytes);
		document.querySelector('#live > .model')?.dispatchEvent(new Event('gaff-end'));
		document.querySelector('#live').innerHTML = '<div class="model" data-name="a file" data-model="/file"><p role="status"></p></div>';
		const el = document.querySelector('.model');
		el.dataset.size = bytes.length;
		import(document.body.dataset.viewer).then(m => m.view(el));
	})()`))
	f.eventually("an end", `document.querySelector('.model').matches('[data-drawn], [data-failed]')`)
	return result[string](f.window, `document.querySelector('.model [role=status]').textContent`)
}

func TestBrowserModelWithTextureAndAnimation(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	if got := f.draw(redSquare(t, 0)); got != "2 triangles · 1 material · 1 texture · 1 animation" {
		t.Errorf("facts: %s", got)
	}
	f.eventually("the texture is drawn", `document.querySelector('.model canvas').width > 300`)
	_, front := f.colors(".model canvas")
	if front < 5000 {
		f.shot("failed-model-texture")
		t.Errorf("%d red pixels", front)
	}
	f.run(evaluate(`document.querySelector('.model canvas').focus()`))
	for range 6 {
		f.run(evaluate(`document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))`))
	}
	_ = result[bool](f.window, `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
	if _, side := f.colors(".model canvas"); side >= front {
		t.Errorf("%d red pixels from the side, %d from the front", side, front)
	}
	for _, button := range []string{"Turn left", "Turn right", "Zoom in", "Zoom out"} {
		f.run(click(`.model [aria-label="` + button + `"]`))
	}
	f.run(evaluate(`[...document.querySelectorAll('.model button')].find(b => b.textContent === 'Play').click()`))
	f.eventually("it plays", `[...document.querySelectorAll('.model button')].some(b => b.textContent === 'Pause')`)
}

// Broken and hostile files end in words, and the page still answers.
func TestBrowserModelRefusesBrokenFiles(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	whole := redSquare(t, 0)
	scene := func(more string) []byte {
		return glb(`{"asset":{"version":"2.0"},"scenes":[{"nodes":[0]}],`+more+`}`, nil)
	}
	many := func(n int, one string) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	accessor := `"accessors":[{"componentType":5126,"type":"VEC3","count":3}]`
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"no glTF":         {[]byte(strings.Repeat("<html>", 20)), `does not begin with "glTF"`},
		"version 1":       {append([]byte("glTF\x01\x00\x00\x00"), make([]byte, 20)...), "version 1"},
		"cut":             {whole[:len(whole)-40], "its header says"},
		"no JSON":         {glb("{", nil), "JSON cannot be read"},
		"a list":          {glb("[]", nil), "no JSON object"},
		"other files":     {scene(`"buffers":[{"byteLength":9,"uri":"/api/v1/events"}]`), "refers to other files"},
		"another host":    {scene(`"images":[{"uri":"https://example.com/x.png"}]`), "refers to other files"},
		"Draco":           {scene(`"extensionsRequired":["KHR_draco_mesh_compression"]`), "compressed with Draco"},
		"an extension":    {scene(`"extensionsRequired":["ACME_fog"]`), "needs the glTF extension ACME_fog"},
		"no scene":        {glb(`{"asset":{"version":"2.0"}}`, nil), "no scene"},
		"nothing":         {scene(`"nodes":[{}]`), "nothing to draw"},
		"a circle":        {scene(`"nodes":[{"children":[1]},{"children":[0]}]`), "twice"},
		"a missing node":  {scene(`"nodes":[]`), "node 0 is missing"},
		"a deep tree":     {scene(`"nodes":[` + deepNodes(5000) + `]`), "levels of nodes"},
		"memory":          {scene(`"nodes":[{"mesh":0}],"accessors":[{"componentType":5126,"type":"VEC3","count":4000000000}]`), "bytes of geometry"},
		"triangles":       {scene(`"nodes":[{"mesh":0}],"meshes":[{"primitives":[{"attributes":{"POSITION":0}}]}],"accessors":[{"componentType":5121,"type":"SCALAR","count":60000000}]`), "triangles"},
		"parts":           {scene(`"nodes":[{"mesh":0}],"meshes":[{"primitives":[` + many(6000, `{"attributes":{"POSITION":0}}`) + `]}],` + accessor), "parts to draw"},
		"morph targets":   {scene(`"nodes":[{"mesh":0}],"meshes":[{"primitives":[{"attributes":{"POSITION":0},"targets":[` + many(1000, "{}") + `]}]}],"accessors":[{"componentType":5121,"type":"SCALAR","count":600000}]`), "morph targets"},
		"materials":       {scene(`"nodes":[{}],"materials":[` + many(300, "{}") + `]`), "materials"},
		"copies":          {scene(`"nodes":[{"mesh":0,"extensions":{"EXT_mesh_gpu_instancing":{"attributes":{"TRANSLATION":1}}}}],"meshes":[{"primitives":[{"mode":0,"attributes":{"POSITION":0}}]}],"accessors":[{"componentType":5126,"type":"VEC3","count":2},{"componentType":5126,"type":"VEC3","count":200000}]`), "copies of meshes"},
		"a broken buffer": {scene(`"nodes":[{"mesh":0}],"meshes":[{"primitives":[{"attributes":{"POSITION":0}}]}],"buffers":[{"byteLength":4}],"bufferViews":[{"buffer":0,"byteLength":4}],"accessors":[{"bufferView":0,"componentType":5126,"type":"VEC3","count":3}]`), "cannot be drawn"},
	} {
		if got := f.draw(c.file); !strings.HasPrefix(got, "No 3D view. ") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q does not contain %q", name, got, c.want)
		}
	}
	if got := f.draw(redSquare(t, 60_000)); !strings.Contains(got, "a texture could not be read") {
		t.Errorf("a picture of 3.6 billion pixels: %s", got)
	}
}

// deepNodes returns a chain of nodes.
func deepNodes(n int) string {
	var b strings.Builder
	for i := range n - 1 {
		fmt.Fprintf(&b, `{"children":[%d]},`, i+1)
	}
	return b.String() + "{}"
}

// Without WebGL and without scripts a page has the facts and the download.
func TestBrowserModelWithoutWebGL(t *testing.T) {
	t.Parallel()
	d := startDev(t, t.TempDir(), "--samples=false")
	d.job(t, "fal-ai/trellis", map[string]any{"prompt": "A bollard"})
	d.until(t, " stored ", 1, "media", "list")
	c := browserOf(t, d.url, d.token)
	id := regexp.MustCompile(`href="/media/(med_[^"]+)"`).FindStringSubmatch(fetch(t, c, "GET", d.url+"/media", nil).body)[1]
	page := fetch(t, c, "GET", d.url+"/media/"+id, nil).body
	for _, part := range []string{"glTF 2.0, binary", "download>Download", "The 3D view needs JavaScript."} {
		if !strings.Contains(page, part) {
			t.Errorf("the page has no %q", part)
		}
	}
	browser, stop, err := browsertest.Start(chromedp.Flag("disable-3d-apis", true))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	win := &window{T: t, ctx: browser, url: d.url, token: d.token}
	win.login()
	win.goTo("/media/" + id)
	win.eventually("the reason", `document.querySelector('.model[data-failed] [role=status]')?.textContent.includes('This browser has no WebGL')`)
	win.eventually("the facts and the download", `document.querySelector('.model .poster').checkVisibility() && document.querySelector('.model a[download]').checkVisibility()`)
	win.accessible("a model without WebGL", axe(t))
}

// The bundle was made of these sources: run tools/viewer/build after a change.
func TestViewerIsBuiltFromItsSources(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := fetch(t, w.browser(t), "GET", w.url+"/media", nil).body
	address := regexp.MustCompile(`data-viewer="([^"]+)"`).FindStringSubmatch(page)[1]
	got := fetch(t, http.DefaultClient, "GET", w.url+address, nil)
	first, _, _ := strings.Cut(got.body, "\n")
	if want := "// sources " + sumOf(t, "viewer.js", "bounds.js", "package-lock.json"); first != want {
		t.Errorf("the bundle begins with %q, want %q: run tools/viewer/build", first, want)
	}
	packed, err := os.ReadFile(filepath.Join("viewer", "viewer.js.gz"))
	if err != nil || len(packed) > 200<<10 {
		t.Errorf("%d bytes in the binary, %v", len(packed), err)
	}
}

// sumOf returns the SHA-256 of files of tools/viewer, one after another.
func sumOf(t *testing.T, names ...string) string {
	t.Helper()
	h := sha256.New()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("..", "..", "tools", "viewer", name))
		if err != nil {
			t.Fatal(err)
		}
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil))
}
