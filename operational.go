package gaff

import (
	"errors"

	"gaff/internal/redact"
)

// Operational events: gaff emits them itself, with the source [InternalSource], if something
// needs an operator's attention.
const (
	EventDeliveryDead         = "delivery.dead"
	EventDestinationFailing   = "destination.failing"
	EventDestinationRecovered = "destination.recovered"
	EventDestinationDisabled  = "destination.disabled"
	EventSourceSilent         = "source.silent"
	EventRejectionsRising     = "rejections.rising"
	EventJobOverdue           = "job.overdue"
	EventRunWaiting           = "run.waiting"
	EventDiskLow              = "disk.low"
	EventSchemaViolation      = "schema.violation"
	// EventAlertResolved ends the alert of any other event than destination.failing.
	EventAlertResolved = "alert.resolved"
	// EventAlertNotice carries a message to one channel.
	EventAlertNotice = "alert.notice"
)

// Operational reports whether an event is an operational one. The failure of its delivery
// raises no alert, so that alerts cannot cause one another.
func Operational(ev *Event) bool {
	if ev.Source != InternalSource {
		return false
	}
	switch ev.Type {
	case EventDeliveryDead, EventDestinationFailing, EventDestinationRecovered, EventDestinationDisabled, EventSourceSilent,
		EventRejectionsRising, EventJobOverdue, EventRunWaiting, EventDiskLow, EventSchemaViolation, EventAlertResolved, EventAlertNotice:
		return true
	}
	return false
}

// Failure describes a dead delivery for the issue that groups it with others of its kind.
type Failure struct {
	Handler string
	// Status is the HTTP status that the receiver answered; 0 if it answered none.
	Status int
	// Cause is the error without parts that may quote a payload.
	Cause string
	// Operational is set for deliveries of operational events; see [Operational].
	Operational bool
}

// NewFailure describes the failure of a delivery with err.
func NewFailure(handler string, ev *Event, err error) *Failure {
	f := &Failure{Handler: handler, Cause: failureText(err), Operational: Operational(ev)}
	if answered, ok := errors.AsType[interface {
		error
		HTTPStatus() int
	}](err); ok {
		f.Status = answered.HTTPStatus()
	}
	return f
}

// failureText is the part of an error that may leave the database.
func failureText(err error) string {
	if p, ok := errors.AsType[*panicError](err); ok {
		return "panic: " + redact.Panic(p.value)
	}
	return redact.Error(err)
}
