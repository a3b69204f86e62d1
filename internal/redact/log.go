package redact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"runtime"
	"syscall"
)

// Logged is implemented by errors with a separate text for logs: statuses, names and numbers of
// gaff's own, without any part of a payload, a response, or a URL's path.
type Logged interface{ LogText() string }

// Error returns the part of an error that may be logged. The error's text may quote untrusted
// input, so this is the text of [Logged] errors and of errors of the network and the operating
// system, and only the type of others. The full text belongs in the database, where access and
// retention apply.
func Error(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := find[Logged](err); ok {
		return e.LogText()
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Sprintf("%s %s: %s", e.Op, Host(e.URL), Error(e.Err))
	}
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, fs.ErrNotExist, fs.ErrPermission,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Error() // addresses and the system's message
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e.Error()
	}
	return fmt.Sprintf("%T", innermost(err))
}

// Panic returns the part of a panic's value that may be logged: the runtime's own message, else only
// the type.
func Panic(value any) string {
	if e, ok := value.(runtime.Error); ok {
		return e.Error()
	}
	if e, ok := value.(error); ok {
		return Error(e)
	}
	return fmt.Sprintf("%T", value)
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

func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
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
