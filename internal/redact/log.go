package redact

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Logged is implemented by errors with a separate text for logs: statuses, names and numbers of
// gaff's own, without any part of a payload, a response, or a URL's path.
type Logged interface{ LogText() string }

// Const is an error whose text is always the same, so that it may be logged, unless more is known of the
// error that wraps it.
type Const string

// Error returns the text.
func (c Const) Error() string { return string(c) }

// Own is a text of the operator's or gaff's own, which [Errorf] logs.
type Own string

// Errorf is [fmt.Errorf] for errors whose text may quote untrusted input. Logs get the same text with "…" in
// place of the strings that are not [Own], and of the errors that may not be logged.
func Errorf(format string, args ...any) error {
	shown := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case error:
			if shown[i] = "…"; arg != nil {
				if text, ok := known(arg); ok {
					shown[i] = text
				}
			}
		case Own, bool, int, int64, time.Duration, time.Time:
			shown[i] = arg
		default:
			shown[i] = "…"
		}
	}
	return &quoting{fmt.Errorf(format, args...), fmt.Sprintf(strings.ReplaceAll(format, "%w", "%v"), shown...)}
}

// quoting is an error with a text for logs.
type quoting struct {
	error
	logged string
}

func (e *quoting) LogText() string { return e.logged }
func (e *quoting) Unwrap() error   { return e.error }

// Unlogged is the text in logs of an error that may quote untrusted input.
const Unlogged = "not logged, because it may quote a payload; the stored error has its text"

// Error returns the part of an error that may be logged. The error's text may quote untrusted
// input, so this is the text of [Logged] errors, of errors of the network and the operating system,
// and of a [Const], and [Unlogged] for others. The full text belongs in the database, where access and
// retention apply.
func Error(err error) string {
	if err == nil {
		return ""
	}
	if text, ok := known(err); ok {
		return text
	}
	return Unlogged
}

// known returns the text of an error that may be logged.
func known(err error) (text string, ok bool) {
	if e, ok := find[Logged](err); ok {
		return e.LogText(), true
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Sprintf("%s %s: %s", e.Op, Host(e.URL), Error(e.Err)), true
	}
	for _, static := range []error{
		context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe,
		fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, net.ErrClosed, http.ErrUseLastResponse, http.ErrServerClosed, http.ErrSchemeMismatch,
	} {
		if errors.Is(err, static) {
			return static.Error(), true
		}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Error(), true // addresses and the system's message
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.Error(), true
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e.Error(), true
	}
	for _, kind := range []struct {
		is   func(error) bool
		text string
	}{
		{isA[x509.UnknownAuthorityError], "the certificate is signed by an unknown authority"},
		{isA[x509.HostnameError], "the certificate is for another host"},
		{isA[x509.CertificateInvalidError], "the certificate is expired or not valid"},
		{isA[*tls.CertificateVerificationError], "the certificate is not valid"},
		{isA[tls.RecordHeaderError], "the other side does not speak TLS"},
		{isA[tls.AlertError], "the other side ended the TLS handshake"},
		{isA[*json.SyntaxError], "invalid JSON"},
		{isA[*json.UnmarshalTypeError], "JSON of another form"},
	} {
		if kind.is(err) {
			return kind.text, true
		}
	}
	if c, ok := find[Const](err); ok {
		return string(c), true
	}
	return "", false
}

func isA[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// Panic returns the part of a panic's value that may be logged: the runtime's own message, or that of
// an error.
func Panic(value any) string {
	if e, ok := value.(runtime.Error); ok {
		return e.Error()
	}
	if e, ok := value.(error); ok {
		return Error(e)
	}
	return Unlogged
}

// find is errors.As for an interface that does not embed error.
func find[T any](err error) (found T, ok bool) {
	for err != nil {
		if found, ok = err.(T); ok {
			return found, true
		}
		if many, is := err.(interface{ Unwrap() []error }); is {
			for _, e := range many.Unwrap() {
				if found, ok = find[T](e); ok {
					return found, true
				}
			}
			return found, false
		}
		err = errors.Unwrap(err)
	}
	return found, false
}

// answered is a service's error response.
type answered struct {
	who    string
	status int
	rest   string
}

func (e *answered) Error() string   { return e.LogText() + e.rest }
func (e *answered) LogText() string { return fmt.Sprintf("%s answered %d", e.who, e.status) }

// Answered returns an error "who answered status" followed by more, such as the response's text.
// Logs have only the first part.
func Answered(who string, status int, more string) error { return &answered{who, status, more} }
