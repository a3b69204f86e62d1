package ui_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"gaff/internal/browsertest"
	"gaff/internal/eventually"
)

// chromium is one browser for all tests; each test has a window of its own, with its own
// cookies.
var chromium struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if chromium.stop != nil {
		chromium.stop()
	}
	if binary.dir != "" {
		_ = os.RemoveAll(binary.dir)
	}
	os.Exit(code)
}

func startChromium() (context.Context, error) {
	chromium.once.Do(func() { chromium.ctx, chromium.stop, chromium.err = browsertest.Start() })
	return chromium.ctx, chromium.err
}

// window is a browser window of a test.
type window struct {
	*testing.T
	ctx        context.Context
	url, token string

	// forgive are addresses that may answer with an error.
	forgive []string

	mu       sync.Mutex
	requests []string // addresses that it asked for
	bytes    map[string]float64
	faults   []string // of scripts, and of the policy
}

func (w *world) open(t *testing.T, width, height int64, dark bool) *window {
	t.Helper()
	return open(t, w.url, adminToken, width, height, dark)
}

// open opens a window that knows nothing of the others. dark is the system's liking.
func open(t *testing.T, address, token string, width, height int64, dark bool) *window {
	t.Helper()
	browser, err := startChromium()
	if err != nil {
		t.Fatal(err)
	}
	win := &window{T: t, url: address, token: token, bytes: map[string]float64{}}
	listen := func(ev any) {
		win.mu.Lock()
		defer win.mu.Unlock()
		switch ev := ev.(type) {
		case *network.EventRequestWillBeSent:
			win.requests = append(win.requests, ev.Request.URL)
		case *network.EventLoadingFinished:
			win.bytes[string(ev.RequestID)] = ev.EncodedDataLength
		case *runtime.EventExceptionThrown:
			win.faults = append(win.faults, ev.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			if string(ev.Entry.Level) == "error" {
				win.faults = append(win.faults, ev.Entry.Text+" "+ev.Entry.URL)
			}
		}
	}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(listen))
	t.Cleanup(cancel)
	// The window lives as long as the context of its first action, so that has no end.
	enable := chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		if err == nil {
			_, err = cdp.Call(ctx, target, log.Enable, cdp.Empty{})
		}
		return err
	})
	if err := chromedp.Do(ctx, enable); err != nil {
		t.Fatal(err)
	}
	win.ctx = ctx
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	win.run(chromedp.EmulateViewport(width, height), emulateScheme(scheme))
	t.Cleanup(func() {
		win.mu.Lock()
		defer win.mu.Unlock()
		for _, asked := range win.requests {
			if !strings.HasPrefix(asked, address) && !strings.HasPrefix(asked, "data:") && !strings.HasPrefix(asked, "blob:") && !strings.HasPrefix(asked, "about:") {
				t.Errorf("the console asked a foreign host: %s", asked)
			}
		}
		for _, fault := range win.faults {
			if slices.ContainsFunc(win.forgive, func(path string) bool { return strings.HasSuffix(fault, path) }) {
				continue
			}
			t.Errorf("the page's console: %s", fault)
		}
	})
	return win
}

// run does actions one after another. Each has a deadline of its own, so that a test of many
// steps does not fail on a slow machine.
func (w *window) run(actions ...chromedp.Action[chromedp.Void]) {
	w.Helper()
	for _, action := range actions {
		if err := w.step(func(ctx context.Context) error { return chromedp.Do(ctx, action) }); err != nil {
			w.shot("failed-" + strings.ReplaceAll(w.Name(), "/", "-"))
			w.Fatal(err)
		}
	}
}

// step calls do with a context that ends after [eventually.Limit].
func (w *window) step(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(w.ctx, eventually.Limit)
	defer cancel()
	return do(ctx)
}

// ask runs one action that returns a value.
func ask[T any](w *window, action chromedp.Action[T]) (value T, err error) {
	err = w.step(func(ctx context.Context) error {
		value, err = chromedp.Run(ctx, action)
		return err
	})
	return value, err
}

// result returns the value of a script, and ends the test if it fails.
func result[T any](w *window, script string) T {
	w.Helper()
	value, err := ask(w, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		w.Fatal(err)
	}
	return value
}

// goTo opens a page of the console, and waits for its scripts, which run after the first paint.
func (w *window) goTo(path string) {
	w.Helper()
	w.run(chromedp.Navigate(w.url + path))
	w.ready()
}

// ready waits for the scripts of the page.
func (w *window) ready() {
	w.Helper()
	w.eventually("the scripts", `document.readyState === 'complete' && (!document.querySelector('script[data-then]') || 'ready' in document.documentElement.dataset)`)
}

func (w *window) login() {
	w.Helper()
	w.goTo("/")
	w.run(
		chromedp.WaitVisible(chromedp.CSS(`input[name=token]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name=token]`), w.token),
		chromedp.SendKeys(chromedp.CSS(`input[name=name]`), "Anna"),
		chromedp.Click(chromedp.CSS(`button.primary`)),
		chromedp.WaitVisible(chromedp.CSS(`.side`)),
	)
	w.ready()
}

// eventually waits until a script is true.
func (w *window) eventually(what, script string) {
	w.Helper()
	deadline := time.Now().Add(eventually.Limit)
	for {
		ok, err := ask(w, chromedp.Evaluate[bool](script))
		if err == nil && ok {
			return
		}
		if time.Now().After(deadline) {
			w.shot("failed-" + strings.ReplaceAll(w.Name(), "/", "-"))
			w.Fatalf("%s: did not happen (%v)", what, err)
		}
		time.Sleep(30 * time.Millisecond)
	}
}

func (w *window) text(selector string) string {
	w.Helper()
	text, err := ask(w, chromedp.Text(chromedp.CSS(selector)))
	if err != nil {
		w.Fatal(err)
	}
	return text
}

// shot keeps a picture of the window, in the folder of pictures if one is wanted, else
// beside other temporary files.
func (w *window) shot(name string) {
	w.Helper()
	png, err := ask(w, chromedp.CaptureScreenshot())
	if err != nil {
		w.Logf("no picture: %v", err)
		return
	}
	dir := *pictures
	if dir == "" {
		dir = os.TempDir()
	}
	path := filepath.Join(dir, name+".png")
	if err := os.WriteFile(path, png, 0o644); err != nil {
		w.Logf("no picture: %v", err)
		return
	}
	w.Log("picture: ", path)
}
