package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gaff/internal/app"
	"gaff/internal/config"
	"gaff/internal/wire"
)

// Names of files in the data folder. Commands read them to find the gateway that runs on this
// machine: its base URL, and a token that only the folder's owner can read.
const (
	urlFile   = "url"
	tokenFile = "admin-token"
	// localTokenFile exists while the gateway runs, with any configured token.
	localTokenFile = "token"
)

// maxAnswer is the longest response that is read, in bytes.
const maxAnswer = 256 << 20

func newHTTPClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 60 * time.Second // "events retry --now" waits for a handler
	return &http.Client{
		Transport: transport,
		// A redirect would send the token, or a signed body, to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dialPatiently is dial for commands that may take an hour.
func (p *program) dialPatiently() (*client, error) {
	c, err := p.dial()
	if err == nil {
		if transport, ok := c.http.Transport.(*http.Transport); ok {
			transport.ResponseHeaderTimeout = time.Hour
		}
	}
	return c, err
}

// client calls the HTTP API of a running gateway.
type client struct {
	base, token string
	http        *http.Client
}

func (p *program) clientFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.url, "url", "", "the gateway's URL [GAFF_URL] (default: read from the data folder)")
	cmd.Flags().StringVar(&p.token, "token", "", "the token for it [GAFF_TOKEN] (default: read from the data folder)")
	p.settingFlags(cmd, "GAFF_DATA_DIR")
	pre := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if err := emptyFlag(cmd.Flags()); err != nil {
			return err
		}
		return pre(cmd, args)
	}
}

// emptyFlag rejects a flag with an empty value, such as --source "$SOURCE" if the variable is unset:
// ignoring it would show, retry or delete more than was meant.
func emptyFlag(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && err == nil {
			err = usagef("--%s is empty: give it a value, or leave it out", f.Name)
		}
	})
	return err
}

// locate returns the gateway's URL from the flag, the environment or the data folder, or "".
func (p *program) locate(cfg *config.Config) (base string) {
	switch {
	case p.url != "":
		return withScheme(strings.TrimRight(p.url, "/"))
	case cfg.ClientURL != "":
		return cfg.ClientURL
	}
	return p.fromDataDir(cfg, urlFile)
}

// locateReceiver returns the URL below which the gateway receives webhooks, and the client for it.
func (p *program) locateReceiver(cfg *config.Config) (base string, client *http.Client) {
	if p.url == "" && cfg.ClientURL == "" {
		if base := p.fromDataDir(cfg, app.WebhookURLFile); base != "" {
			return base, p.clientOf(cfg, app.WebhookURLFile)
		}
	}
	return p.locate(cfg), p.http
}

// clientOf returns the HTTP client for the URL in a file of the data folder. The names in the
// gateway's certificate are not those by which its own machine calls it: it must be the very
// certificate that is in the data folder.
func (p *program) clientOf(cfg *config.Config, file string) *http.Client {
	transport, ok := p.http.Transport.(*http.Transport)
	if !ok || !strings.HasPrefix(p.fromDataDir(cfg, file), "https:") {
		return p.http
	}
	transport = transport.Clone()
	transport.TLSClientConfig = &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection compares the certificate
		VerifyConnection: func(state tls.ConnectionState) error {
			// It is read now: a new one is there as soon as the gateway uses it.
			block, _ := pem.Decode([]byte(p.fromDataDir(cfg, file+app.CertificateSuffix)))
			if block == nil || !bytes.Equal(block.Bytes, state.PeerCertificates[0].Raw) {
				return errors.New("its certificate is not the one in the data folder")
			}
			return nil
		},
	}
	client := *p.http
	client.Transport = transport
	return &client
}

// fromDataDir reads a small file of the data folder; it returns "" if the file is missing.
func (p *program) fromDataDir(cfg *config.Config, name string) string {
	dir := cfg.DataDir
	if p.devRuns(cfg) {
		dir = app.DevDir
	}
	f, err := os.Open(filepath.Join(p.path(dir), name))
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return ""
	}
	return strings.TrimRight(strings.TrimSpace(string(text)), "/")
}

// dial finds the gateway and the token. It makes no call.
func (p *program) dial() (*client, error) {
	cfg, err := p.load()
	// Faults in settings that only the server reads do not matter here.
	if faults, ok := errors.AsType[config.Faults](err); ok {
		for _, f := range faults {
			if strings.HasPrefix(f.Name, "GAFF_URL") || strings.HasPrefix(f.Name, "GAFF_TOKEN") || f.Name == "GAFF_DATA_DIR" {
				return nil, config.Faults{f}
			}
		}
	}
	c := &client{base: p.locate(cfg), token: p.token, http: p.http}
	if p.url == "" && cfg.ClientURL == "" {
		c.http = p.clientOf(cfg, urlFile)
	}
	if c.base == "" {
		return nil, noGateway(cfg, "GAFF_URL and GAFF_TOKEN")
	}
	u, err := url.Parse(c.base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usagef("%q is not the URL of a gateway; write one such as http://127.0.0.1:3000", c.base)
	}
	if c.token == "" {
		c.token = string(cfg.ClientToken)
	}
	// The token of this machine's gateway is not sent to another one.
	if c.token == "" && (c.base == p.fromDataDir(cfg, urlFile) || isLoopback(u.Hostname())) {
		if c.token = p.fromDataDir(cfg, localTokenFile); c.token == "" {
			c.token = p.fromDataDir(cfg, tokenFile)
		}
	}
	if c.token == "" {
		return nil, fmt.Errorf("no token for %s: set GAFF_TOKEN (or GAFF_TOKEN_FILE); on the gateway's machine, run as the owner of its data folder", c.base)
	}
	return c, nil
}

var errNoGateway = errors.New("no gateway found")

// noGateway is the error if no gateway was found. It names the settings that locate one.
func noGateway(cfg *config.Config, settings string) error {
	return fmt.Errorf("%w: %s does not exist. Start one (gaff serve), name its data folder (--data-dir), or set %s",
		errNoGateway, filepath.Join(cfg.DataDir, urlFile), settings)
}

// withScheme adds http:// to a host and port of this machine. It does not for other hosts: a
// forgotten scheme must not send a token unencrypted.
func withScheme(address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	u, err := url.Parse("http://" + address)
	if err != nil || !isLoopback(u.Hostname()) {
		return address
	}
	return "http://" + address
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// apiError is a response other than 2xx.
type apiError struct {
	status              int
	title, detail, next string
}

func (e *apiError) Error() string {
	text := fmt.Sprintf("the gateway answered %d", e.status)
	for _, part := range []string{e.title, e.detail} {
		// The status's own text adds nothing to the number and the detail.
		if part != "" && (e.detail == "" || part != http.StatusText(e.status)) {
			text += ": " + cutLines(part)
		}
	}
	if e.next != "" {
		text += ". " + e.next
	}
	return text
}

// cutLines shortens text of several lines, such as a list of faults.
func cutLines(text string) string {
	const most = 20
	lines := strings.Split(text, "\n")
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("  and %d more", len(lines)-most))
	}
	for i := range lines {
		lines[i] = cut(lines[i], 500)
	}
	return strings.Join(lines, "\n")
}

// send makes a call; the caller closes the response's body. A response other than 2xx is an
// *apiError.
func (c *client) send(ctx context.Context, method, path string, query url.Values, body any, header http.Header) (*http.Response, error) {
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		return nil, usagef("%q is not the URL of a gateway", c.base)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("User-Agent", "gaff")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("no response from %s: %w. Is gaff serve running there?", c.base, err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, readAPIError(res)
}

func readAPIError(res *http.Response) *apiError {
	e := &apiError{status: res.StatusCode}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	var problem struct{ Title, Detail, Error, Reason string }
	if json.Unmarshal(text, &problem) == nil {
		e.title, e.detail = problem.Title, problem.Detail
		if e.title == "" {
			e.title, e.detail = problem.Error, problem.Reason
		}
	}
	if e.title == "" {
		e.title = http.StatusText(res.StatusCode)
	}
	switch {
	case res.StatusCode == http.StatusUnauthorized:
		e.next = "Set GAFF_TOKEN to a token of this gateway"
	case res.StatusCode == http.StatusForbidden:
		e.next = "The token's role does not allow this; use one with a higher role"
	case res.StatusCode/100 == 3:
		e.next = fmt.Sprintf("It redirects to %s; set GAFF_URL to the gateway's own URL", cut(res.Header.Get("Location"), 200))
	}
	return e
}

// call makes a call and returns the JSON of the response.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body any) (json.RawMessage, error) {
	res, err := c.send(ctx, method, path, query, body, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the response of %s: %w", path, err)
	}
	if !json.Valid(text) {
		return nil, fmt.Errorf("the response of %s%s is not JSON: is this the URL of a gaff gateway?", c.base, path)
	}
	return text, nil
}

// one reads a single resource; id is put at the end of the path.
func (c *client) one(ctx context.Context, path, id string, to any) error {
	text, err := c.call(ctx, http.MethodGet, path+"/"+url.PathEscape(id), nil, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("read %s %s: %w", path, id, err)
	}
	return nil
}

// pageSize is the number of rows of a page, the API's maximum.
const pageSize = 500

// list calls f for each row, page by page, up to limit rows; 0 means all. It reports whether there
// are more.
func (c *client) list(ctx context.Context, path string, query url.Values, limit int, f func(json.RawMessage) error) (more bool, err error) {
	query = cloneValues(query)
	for seen := 0; ; {
		size := pageSize
		if limit > 0 {
			size = min(size, limit-seen)
		}
		query.Set("limit", strconv.Itoa(size))
		text, err := c.call(ctx, http.MethodGet, path, query, nil)
		if err != nil {
			return false, err
		}
		var page wire.List[json.RawMessage]
		if err := json.Unmarshal(text, &page); err != nil {
			return false, fmt.Errorf("read %s: %w", path, err)
		}
		for i, doc := range page.Docs {
			if err := f(doc); err != nil {
				return false, err
			}
			if seen++; seen == limit {
				return i+1 < len(page.Docs) || page.NextCursor != "", nil
			}
		}
		// An empty page may have a next one: a search reads a part of the log at a time.
		if page.NextCursor == "" {
			return false, nil
		}
		query.Set("cursor", string(page.NextCursor))
	}
}

// listOnce calls f for each row of a list that comes in one page.
func (c *client) listOnce(ctx context.Context, path string, f func(json.RawMessage) error) error {
	page, _, err := decodeCall[wire.List[json.RawMessage]](ctx, c, apiCall{method: http.MethodGet, path: path})
	if err != nil {
		return err
	}
	for _, doc := range page.Docs {
		if err := f(doc); err != nil {
			return err
		}
	}
	return nil
}

func cloneValues(v url.Values) url.Values {
	clone := make(url.Values, len(v)+2)
	for name, values := range v {
		clone[name] = values
	}
	return clone
}

// message is one server-sent event.
type message struct {
	id, event string
	data      []byte
}

// maxMessage is the longest message of the stream, in bytes.
const maxMessage = 32 << 20

// errEndStream is returned by a stream's callbacks to end the stream without an error.
var errEndStream = errors.New("end of the stream")

// stream reads the gateway's changes until ctx ends or a callback returns an error. It reconnects
// after a broken connection and continues after the last message; opened is called after each
// connect. An error of the first connect is returned. query is that of the stream, or nil.
func (c *client) stream(ctx context.Context, query url.Values, opened func() error, f func(message) error) error {
	const firstWait, longestWait = time.Second, 30 * time.Second
	last := ""
	for wait, first := firstWait, true; ; first = false {
		header := http.Header{"Accept": {"text/event-stream"}, "Cache-Control": {"no-cache"}}
		if last != "" {
			header.Set("Last-Event-Id", last)
		}
		res, err := c.send(ctx, http.MethodGet, "/api/v1/stream", query, nil, header)
		if err == nil {
			wait = firstWait
			if opened != nil {
				err = opened()
			}
			if err == nil {
				err = readMessages(res.Body, func(m message) error {
					if m.id != "" {
						last = m.id
					}
					return f(m)
				})
			}
			res.Body.Close()
			if errors.Is(err, errEndStream) {
				return nil
			}
			if _, broken := errors.AsType[brokenStream](err); !broken {
				return err
			}
		} else if e, ok := errors.AsType[*apiError](err); first || ok && e.status/100 != 5 && e.status != http.StatusTooManyRequests {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait = min(2*wait, longestWait)
		}
	}
}

// brokenStream is the reason that a stream ended, which is then opened again.
type brokenStream struct{ error }

// readMessages calls f for each server-sent event until f returns an error or r ends, which is a
// brokenStream.
func readMessages(r io.Reader, f func(message) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxMessage)
	var m message
	var hasData bool
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			if hasData {
				if err := f(m); err != nil {
					return err
				}
			}
			m, hasData = message{}, false
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			m.id = string(value)
		case "event":
			m.event = string(value)
		case "data":
			if hasData {
				m.data = append(m.data, '\n')
			}
			m.data, hasData = append(m.data, value...), true
			if len(m.data) > maxMessage {
				return brokenStream{bufio.ErrTooLong}
			}
		}
	}
	if err := lines.Err(); err != nil {
		return brokenStream{err}
	}
	return brokenStream{io.EOF}
}
