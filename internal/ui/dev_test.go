package ui_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"gaff/internal/eventually"
)

// dev is a running "gaff dev": the real binary with its stand-ins, in a folder of its own.
type dev struct{ dir, url, token string }

var binary struct {
	once sync.Once
	dir  string
	err  error
}

func gaffBinary() (string, error) {
	binary.once.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "gaff-ui-"); binary.err != nil {
			return
		}
		// Built as the tests are, so that no package is compiled again.
		if text, err := exec.Command("go", "build", "-o", filepath.Join(binary.dir, "gaff"), "../../cmd/gaff").CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("build gaff: %w\n%s", err, text)
		}
	})
	return filepath.Join(binary.dir, "gaff"), binary.err
}

// startDev starts it in dir, and waits until it asked for its sample jobs, or is ready where
// it asks for none.
func startDev(t *testing.T, dir string, args ...string) *dev {
	t.Helper()
	path, err := gaffBinary()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dev{dir: dir, url: "http://" + ln.Addr().String()}
	ln.Close()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{"dev", "--addr", ln.Addr().String(), "--seed", "3"}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = out.Close()
		if text, err := os.ReadFile(out.Name()); t.Failed() && err == nil {
			t.Logf("gaff dev: %s", text)
		}
	})
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(out.Name())
		said := string(text)
		if strings.Contains(said, "See their files at") || strings.Contains(said, "In a second terminal") && strings.Contains(strings.Join(args, " "), "--samples=false") {
			break
		}
		select {
		case <-ended:
			t.Fatalf("gaff dev ended: %s", said)
		default:
		}
		if time.Since(began) > eventually.Limit {
			t.Fatalf("gaff dev is not ready: %s", said)
		}
	}
	token, err := os.ReadFile(filepath.Join(dir, "gaff-dev", "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	d.token = strings.TrimSpace(string(token))
	return d
}

// gaff runs a command in its folder, as a person in a second terminal does.
func (d *dev) gaff(t *testing.T, args ...string) string {
	t.Helper()
	text, err := d.command(args...)
	if err != nil {
		t.Fatalf("gaff %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return text
}

func (d *dev) command(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(binary.dir, "gaff"), args...)
	cmd.Dir, cmd.Env = d.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir}
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// job submits work that takes no time, and returns its id. A fault may be named in input.
func (d *dev) job(t *testing.T, model string, input map[string]any) string {
	t.Helper()
	input["standin"] = map[string]any{"seconds": 0, "fault": input["fault"]}
	delete(input, "fault")
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.command("jobs", "submit", model, "--input", string(text), "--project", "harbour-film", "--json")
	var job struct{ ID string }
	if jsonErr := json.Unmarshal([]byte(out), &job); err != nil || jsonErr != nil {
		t.Fatalf("%v %v: %s", err, jsonErr, out)
	}
	return job.ID
}

// until asks a command for lines until some of them have a text.
func (d *dev) until(t *testing.T, text string, n int, args ...string) string {
	t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		out := d.gaff(t, args...)
		if strings.Count(out, text) >= n {
			return out
		}
		if time.Since(began) > eventually.Limit {
			t.Fatalf("gaff %s: no %d times %q: %s", strings.Join(args, " "), n, text, out)
		}
	}
}

func (d *dev) open(t *testing.T, width, height int64, dark bool) *window {
	t.Helper()
	return open(t, d.url, d.token, width, height, dark)
}

// album is a receiver of webhooks that is being moved: it refuses, in other words each time.
func album(t *testing.T) string {
	t.Helper()
	var mu sync.Mutex
	tries := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n := tries[r.Header.Get("webhook-id")]
		tries[r.Header.Get("webhook-id")]++
		mu.Unlock()
		if n == 0 {
			http.Error(w, "upstream connect error", http.StatusBadGateway)
			return
		}
		http.Error(w, "the album service is being moved, come back in an hour", http.StatusServiceUnavailable)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// A picture, film and sound of the simulated services, from the job to the screen: all that is
// shown is the copy that gaff keeps, with its thumbnail, and the film can be sought.
func TestBrowserShowsStoredMedia(t *testing.T) {
	t.Parallel()
	d := startDev(t, t.TempDir(), "--samples=false")
	d.job(t, "fal-ai/flux/dev", map[string]any{"prompt": "A lighthouse", "image_size": "landscape_4_3"})
	film := d.job(t, "fal-ai/kling-video/v2.5-turbo/pro/text-to-video", map[string]any{"prompt": "The lamp turns"})
	d.job(t, "fal-ai/minimax/speech-02-hd", map[string]any{"text": "The light must never go out."})
	win := d.open(t, 1280, 860, false)
	win.login()
	d.until(t, " stored ", 3, "media", "list")
	win.goTo("/media")
	win.eventually("the picture is a thumbnail of it", `[...document.querySelectorAll('.gallery img')].some(i => i.currentSrc.includes('/thumbnail') && i.naturalWidth > 0)`)
	win.eventually("the film and the sound are there", `document.querySelector('.gallery video')?.readyState >= 1 && document.querySelector('.gallery audio') !== null`)
	win.run(click(`.gallery li:has(img) figcaption a`), chromedp.WaitVisible(chromedp.CSS(`.stage img`)))
	win.eventually("the picture itself", `document.querySelector('.stage img').naturalWidth >= 1024`)
	win.goTo("/jobs/" + film)
	win.run(chromedp.WaitVisible(chromedp.CSS(`.gallery video`)), click(`.gallery figcaption a`), chromedp.WaitVisible(chromedp.CSS(`.stage video`)))
	win.eventually("the film is loaded", `document.querySelector('.stage video').readyState >= 2`)
	win.run(evaluate(`document.querySelector('.stage video').currentTime = 1`))
	win.eventually("it can be sought", `!document.querySelector('.stage video').seeking && Math.abs(document.querySelector('.stage video').currentTime - 1) < .2`)
	win.run(evaluate(`document.querySelector('.stage video').play()`))
	win.eventually("it plays", `document.querySelector('.stage video').currentTime > 1.1`)
}
