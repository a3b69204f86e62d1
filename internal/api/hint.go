package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// ErrorModel is the document of an error (RFC 9457), with what a program or an agent can do next.
type ErrorModel struct {
	huma.ErrorModel
	Hint string `json:"hint,omitempty" doc:"What to do next." example:"Wait as long as Retry-After says, and repeat the request."`
}

func init() {
	plain := huma.NewError
	huma.NewError = func(status int, text string, errs ...error) huma.StatusError {
		m, ok := plain(status, text, errs...).(*huma.ErrorModel)
		if !ok {
			m = &huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: text}
		}
		return &ErrorModel{ErrorModel: *m}
	}
}

// hinted returns an error's document with its hint.
func hinted(ctx huma.Context, m *huma.ErrorModel) *ErrorModel {
	path := ""
	if ctx != nil {
		u := ctx.URL()
		path = u.Path
	}
	return &ErrorModel{*m, hintOf(m.Status, path)}
}

// hintOf returns what the caller of a path can do about a status.
func hintOf(status int, path string) string {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType:
		return "Correct the request as the detail says; the same request fails again. GET /api/openapi.json describes every operation."
	case http.StatusUnauthorized:
		return "Send a key: Authorization: Bearer KEY. An admin makes one with gaff keys create, or POST /api/v1/keys."
	case http.StatusPaymentRequired:
		return "Wait for the budget's next period, or have an admin raise it: PUT /api/v1/budgets/{name}."
	case http.StatusForbidden:
		return "Use a key with the role or scope that the detail names; GET /api/v1/me shows those of this key."
	case http.StatusNotFound:
		return "Check the id or name: GET " + collection(path) + " lists them."
	case http.StatusMethodNotAllowed:
		return "Use a method of the header Allow."
	case http.StatusConflict:
		return "Read the resource again, and decide by its state; the same request fails again while that is as it is."
	case http.StatusRequestEntityTooLarge:
		return "Send a smaller body."
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return "Wait as long as Retry-After says, or some seconds, and repeat the request."
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return "The provider failed, not this gateway: read the detail, and repeat the request later."
	}
	if status >= http.StatusInternalServerError {
		return "Repeat the request once; if it fails again, the gateway's log has the reason."
	}
	return ""
}

// collections are the lists that a GET returns; a test compares them with the routes.
var collections = []string{
	"alerts", "budgets", "deliveries", "destinations", "events", "issues", "jobs", "keys", "media", "projects", "rejections", "replays", "runs", "scheduled-events",
	"sessions", "sources", "subscriptions", "workflows",
}

// collection returns the path of the list that a resource is in; without one, that of all operations.
func collection(path string) string {
	name, _, below := strings.Cut(strings.TrimPrefix(path, "/api/v1/"), "/")
	if !below || !slices.Contains(collections, name) {
		return "/api/openapi.json"
	}
	return "/api/v1/" + name
}
