package media

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff/internal/httpx"
	"gaff/internal/mediafile"
	"gaff/internal/payload"
	"gaff/internal/safehttp"
	"gaff/jobs"
)

// resumes is how often a download that is cut off is taken up again within one try.
const resumes = 3

// fetch downloads the file behind a link, or its missing part.
func (k *Keeper) fetch(ctx context.Context, link string, p *part) error {
	if p.mark.Whole {
		return nil
	}
	if len(link) > 5 && strings.EqualFold(link[:5], "data:") {
		contentType, data, err := jobs.ReadDataLink(link)
		if err != nil {
			return never("%w", err)
		}
		if len(data) == 0 {
			return never("the file is empty")
		}
		if int64(len(data)) > k.o.MaxSize {
			return k.tooLarge()
		}
		if err := p.begin(mark{Type: contentType}); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		if _, err := p.Write(data); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		p.mark.Whole = true
		return nil
	}
	for n := 0; ; n++ {
		before := p.size
		err := k.download(ctx, link, p)
		_, judged := errors.AsType[*fault](err)
		if err == nil || judged || n == resumes || p.mark.From == "" || p.size <= before || errors.Is(err, errStalled) {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

// download makes one request for the missing part, and writes it.
func (k *Keeper) download(ctx context.Context, link string, p *part) error {
	watch, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	address, err := safehttp.ParseLink(link)
	if err != nil {
		return never("%w", err)
	}
	req, err := http.NewRequestWithContext(watch, http.MethodGet, address.String(), nil)
	if err != nil {
		return never("the link cannot be read")
	}
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity")
	p.ask(req)
	resp, err := k.o.Client.Do(req)
	if err != nil {
		return cause(watch, err)
	}
	defer resp.Body.Close()
	if err := judge(resp, p.size > 0); err != nil {
		return err
	}
	body := &stallWatch{r: resp.Body, stall: func() { cancel(errStalled) }}
	body.timer = time.AfterFunc(stallAfter, body.tick)
	defer body.stop()
	var plain io.Reader = body
	packed := false
	if p.size == 0 || resp.StatusCode != http.StatusPartialContent { // a resumed file was not packed
		plain, packed, err = unpacked(resp, body)
	}
	if err != nil {
		return cause(watch, err)
	}
	if err := p.take(resp, packed); err != nil {
		return err
	}
	return k.write(watch, p, resp, plain, packed)
}

// write appends an answer's body to the part. packed: it is unpacked as it is read, so that
// Content-Length is not its size.
func (k *Keeper) write(ctx context.Context, p *part, resp *http.Response, plain io.Reader, packed bool) error {
	left := k.o.MaxSize - p.size
	length := resp.ContentLength
	if packed {
		length = -1
	}
	if length > left {
		return k.tooLarge()
	}
	n, err := io.Copy(p, io.LimitReader(plain, left+1))
	switch {
	case n > left:
		return k.tooLarge()
	case err != nil:
		return fmt.Errorf("after %d bytes: %w", p.size, cause(ctx, err))
	case n < length:
		return fmt.Errorf("after %d bytes, %d too few: %w", p.size, length-n, io.ErrUnexpectedEOF)
	}
	p.mark.Whole = true
	return nil
}

// unread are compressions that are not undone. A name that is neither here nor known to
// package payload compresses nothing: browsers take such a body as it is.
var unread = []string{"br", "zstd", "compress", "bzip2", "xz", "lzma", "dcb", "dcz", "exi"}

// unpacked undoes the encodings of an answer, which nobody asked for: storages hand back
// what an uploader wrote. packed is false for a body that no encoding changed.
func unpacked(resp *http.Response, body io.Reader) (plain io.Reader, packed bool, err error) {
	encodings := payload.Encodings(resp.Header["Content-Encoding"])
	if len(encodings) == 0 {
		return body, false, nil
	}
	head := bufio.NewReaderSize(body, 4<<10)
	start, err := head.Peek(2 << 10)
	// A body that is cut off says so when it is read.
	if err != nil && len(start) == 0 && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if isFile(start) {
		return head, false, nil
	}
	plain = head
	for _, name := range slices.Backward(encodings) {
		if slices.Contains(unread, name) {
			return nil, false, fmt.Errorf("the link answers in encoding %s, which was not asked for and cannot be read", name)
		}
		one, changed, err := payload.Reader(name, plain)
		if errors.Is(err, payload.ErrEncoding) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		plain, packed = one, packed || changed
	}
	return plain, packed, nil
}

// isFile reports whether bytes begin as a picture, a film or a sound does, so that nothing
// has packed them.
func isFile(start []byte) bool {
	info, err := mediafile.Probe(bytes.NewReader(start), int64(len(start)))
	kind, _, _ := strings.Cut(info.ContentType, "/")
	return err == nil && (kind == "image" || kind == "video" || kind == "audio" || kind == "model")
}

func (k *Keeper) tooLarge() error {
	return never("the file is larger than media.max_size, %d bytes", k.o.MaxSize)
}

// retryLater are statuses of refusals that mean "not yet"; 420 and 430 are how some hosts say 429,
// and 449 is "retry with".
var retryLater = []int{
	http.StatusRequestTimeout, http.StatusConflict, http.StatusMisdirectedRequest, http.StatusLocked,
	http.StatusFailedDependency, http.StatusTooEarly, http.StatusTooManyRequests, 420, 430, 449,
}

// isWhole reports whether a part of a file is all of it: some hosts answer so without being
// asked for a part.
func isWhole(resp *http.Response) bool {
	span, total, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Content-Range"), "bytes "), "/")
	from, to, _ := strings.Cut(span, "-")
	last, err := strconv.ParseInt(to, 10, 64)
	size, err2 := strconv.ParseInt(total, 10, 64)
	return err == nil && err2 == nil && from == "0" && last+1 == size
}

// judge reads an answer's status; ranged: where a part of the file was asked for.
func judge(resp *http.Response, ranged bool) error {
	f := &fault{storage: jobs.StorageFailed, err: fmt.Errorf("the link answers %s", resp.Status)}
	switch code := resp.StatusCode; {
	case ranged && code == http.StatusRequestedRangeNotSatisfiable:
		return nil // take starts over
	case code == http.StatusOK, code == http.StatusNonAuthoritativeInfo, code == http.StatusPartialContent && (ranged || isWhole(resp)):
		return nil
	case code == http.StatusNotFound || code == http.StatusGone || code == http.StatusForbidden || code == http.StatusUnauthorized:
		// Links that have ended answer with each of these.
		f.storage = jobs.StorageGone
		return f
	case code/100 == 2, code >= 500, slices.Contains(retryLater, code): // a success without the file is "not yet" as well
		wait, _ := httpx.RetryAfter(resp.Header, time.Now())
		f.wait = min(wait, maxWait)
		return f
	}
	f.final = true
	return f
}
