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

// Logged is implemented by errors that know a text for logs: statuses, names and numbers of
// gaff's own, and nothing of a payload, an answer, or an address's path.
type Logged interface{ LogText() string }

// Error returns what a log may hold of an error whose text may quote what others sent: the
// text of [Logged] errors and of those of the network and the operating system, else only
// the type. The whole text belongs where it can be read by those who may, and ends with its
// retention.
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
		return e.Error() // addresses and the system's word
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e.Error()
	}
	return fmt.Sprintf("%T", innermost(err))
}

// Panic returns what a log may hold of a panic's value: the runtime's own words, else only
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

// find is errors.As for an interface that is no error.
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

// answered is a service's answer that is no success.
type answered struct {
	who    string
	status int
	rest   string
}

func (e *answered) Error() string   { return e.LogText() + e.rest }
func (e *answered) LogText() string { return fmt.Sprintf("%s answered %d", e.who, e.status) }

// Answered returns an error "who answered status" with more, such as what the service wrote,
// behind it. Logs hold only the former.
func Answered(who string, status int, more string) error { return &answered{who, status, more} }
