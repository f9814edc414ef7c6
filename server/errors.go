package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"minisgl"
	"minisgl/scheduler"
)

// An apiError is an answer that is not what was asked for, in the form that OpenAI's clients know.
type apiError struct {
	status     int
	message    string
	param      string // the parameter at fault, in the words of the dialect
	code       string
	retryAfter bool   // try again in a second
	detail     string // if set, the body is {"detail": …} as FastAPI's is
}

func (e *apiError) Error() string { return e.message }

func badParam(param, format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, param: param, message: param + ": " + fmt.Sprintf(format, args...)}
}

func unavailable(message string) *apiError {
	return &apiError{status: http.StatusServiceUnavailable, message: message, retryAfter: true}
}

func (e *apiError) kind() string {
	switch {
	case e.status == http.StatusUnauthorized:
		return "authentication_error"
	case e.status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case e.status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}

// appendJSON adds OpenAI's error object.
func (e *apiError) appendJSON(b []byte) []byte {
	optional := func(b []byte, s string) []byte {
		if s == "" {
			return append(b, "null"...)
		}
		return appendString(b, s)
	}
	if e.detail != "" {
		return append(appendString(append(b, `{"detail":`...), e.detail), '}')
	}
	b = appendString(append(b, `{"error":{"message":`...), e.message)
	b = append(append(append(b, `,"type":"`...), e.kind()...), `","param":`...)
	b = append(optional(b, e.param), `,"code":`...)
	return append(optional(b, e.code), `}}`...)
}

func writeError(w http.ResponseWriter, e *apiError) {
	if e.retryAfter {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	w.Write(e.appendJSON(nil))
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		writeError(w, &apiError{status: http.StatusInternalServerError, message: err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// asAPIError says what an error of the engine means to a client. rename gives the dialect's names of parameters.
func asAPIError(err error, rename map[string]string) *apiError {
	var api *apiError
	var param *minisgl.ParamError
	var tooLong *scheduler.TooLongError
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &param):
		name := param.Param
		if renamed, ok := rename[name]; ok {
			name = renamed
		}
		return badParam(name, "%s", param.Reason)
	case errors.As(err, &tooLong):
		return &apiError{status: http.StatusBadRequest, code: "context_length_exceeded", param: rename["prompt"],
			message: fmt.Sprintf("the prompt is too long: it has %d tokens, and at most %d fit beside an output", tooLong.Prompt, tooLong.Limit)}
	case errors.Is(err, minisgl.ErrTooLong):
		return &apiError{status: http.StatusBadRequest, code: "context_length_exceeded", param: rename["prompt"], message: err.Error()}
	case errors.Is(err, minisgl.ErrNoTokenizer), errors.Is(err, minisgl.ErrNoChatTemplate):
		return &apiError{status: http.StatusBadRequest, param: rename["prompt"], message: err.Error()}
	case errors.Is(err, scheduler.ErrInvalid):
		return &apiError{status: http.StatusBadRequest, message: err.Error()}
	case errors.Is(err, minisgl.ErrQueueFull):
		return &apiError{status: http.StatusTooManyRequests, code: "queue_full", retryAfter: true,
			message: "too many requests are waiting: " + err.Error()}
	case errors.Is(err, minisgl.ErrClosed):
		return unavailable("the server is shutting down")
	}
	return &apiError{status: http.StatusInternalServerError, message: err.Error()}
}

// readBody reads a request's body up to the limits of size and time.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, *apiError) {
	tooLarge := &apiError{status: http.StatusRequestEntityTooLarge, code: "body_too_large",
		message: fmt.Sprintf("the body is larger than %d bytes", s.options.MaxBodyBytes)}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, &apiError{status: http.StatusUnsupportedMediaType, message: "Content-Encoding " + encoding + " is not supported"}
	}
	if r.ContentLength > s.options.MaxBodyBytes {
		w.Header().Set("Connection", "close") // the rest is not worth reading
		return nil, tooLarge
	}
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(s.options.IOTimeout))
	defer control.SetReadDeadline(time.Time{})
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.options.MaxBodyBytes))
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, &apiError{status: http.StatusRequestTimeout, message: "the body did not arrive in time"}
	case err != nil:
		return nil, &apiError{status: http.StatusBadRequest, message: "the body ended early: " + err.Error()}
	}
	return body, nil
}
