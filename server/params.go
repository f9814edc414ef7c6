package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"minisgl"
)

// fields is a JSON object whose members are taken out one by one, each with the type it must have. The first member that
// does not have it is the error; what nobody has taken is left in the map. null is the same as absent.
type fields struct {
	prefix string // of the names in errors: "sampling_params."
	values map[string]json.RawMessage
	err    *apiError
}

// parseFields reads a body.
func parseFields(body []byte) (*fields, *apiError) {
	if !utf8.Valid(body) {
		return nil, &apiError{status: http.StatusBadRequest, message: "the body is not valid UTF-8"}
	}
	values, err := members(body)
	if err != nil {
		return nil, &apiError{status: http.StatusBadRequest, message: "the body is not a JSON object: " + err.Error()}
	}
	return &fields{values: values}, nil
}

// Bounds of what a body may hold, so that what is made of it is not many times its size.
const (
	maxMembers = 2 * minisgl.MaxLogitBias // of an object
	maxTurns   = 1 << 14                  // messages of a conversation, parts of a message
	maxKwargs  = 1 << 16                  // bytes of chat_template_kwargs
)

// members reads an object; of several members with one name the last counts, as in Python.
func members(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if start, err := d.Token(); err != nil {
		return nil, err
	} else if start != json.Delim('{') {
		return nil, errors.New("it does not begin with {")
	}
	values := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		if values[name.(string)] = value; len(values) > maxMembers {
			return nil, fmt.Errorf("more than %d members", maxMembers)
		}
	}
	return values, atEnd(d)
}

// atEnd reads the bracket that closes the outermost value and checks that nothing follows it.
func atEnd(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows the value at byte %d", d.InputOffset())
	}
	return nil
}

func (f *fields) fail(name, format string, args ...any) {
	if f.err == nil {
		f.err = badParam(f.prefix+name, format, args...)
	}
}

// has reports whether a member is there, and not null.
func (f *fields) has(name string) bool {
	raw, ok := f.values[name]
	return ok && string(raw) != "null"
}

// take sets target to a member, if it is there, and reports whether it was. want says what it should be.
func take[T any](f *fields, name string, target *T, want string, parse func(json.RawMessage) (T, bool)) bool {
	raw, ok := f.values[name]
	delete(f.values, name)
	if !ok || string(raw) == "null" {
		return false
	}
	value, ok := parse(raw)
	if !ok {
		f.fail(name, "%s: expected %s", shown(raw), want)
		return false
	}
	*target = value
	return true
}

func (f *fields) float(name string, target *float64) bool {
	return take(f, name, target, "a number", parseFloat)
}
func (f *fields) int(name string, target *int) bool {
	return take(f, name, target, "a whole number", parseInt)
}
func (f *fields) bool(name string, target *bool) bool {
	return take(f, name, target, "true or false", parseBool)
}
func (f *fields) string(name string, target *string) bool {
	return take(f, name, target, "a string", parseString)
}
func (f *fields) object(name string, target **fields) bool {
	return take(f, name, target, "an object", func(raw json.RawMessage) (*fields, bool) {
		sub, ok := parseObject(raw)
		if ok {
			sub.prefix = f.prefix + name + "."
		}
		return sub, ok
	})
}

// floatAbove takes a number that is more than low.
func (f *fields) floatAbove(name string, target *float64, low float64) {
	if f.float(name, target) && *target <= low {
		f.fail(name, "%v: expected more than %v", *target, low)
	}
}

func parseFloat(raw json.RawMessage) (float64, bool) {
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	x, err := strconv.ParseFloat(string(raw), 64)
	return x, err == nil
}

// parseInt also takes whole numbers that are written like 5.0, as Python's clients may.
func parseInt(raw json.RawMessage) (int, bool) {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return int(n), true
	}
	x, ok := parseFloat(raw)
	if !ok || x != math.Trunc(x) || math.Abs(x) > 1<<53 {
		return 0, false
	}
	return int(x), true
}

func parseToken(raw json.RawMessage) (int32, bool) {
	n, ok := parseInt(raw)
	return int32(n), ok && n >= math.MinInt32 && n <= math.MaxInt32
}

// parseSeed takes any 64-bit number, signed or not.
func parseSeed(raw json.RawMessage) (*uint64, bool) {
	if n, err := strconv.ParseUint(string(raw), 10, 64); err == nil {
		return &n, true
	}
	n, ok := parseInt(raw)
	seed := uint64(n)
	return &seed, ok
}

func parseBool(raw json.RawMessage) (bool, bool) {
	return string(raw) == "true", string(raw) == "true" || string(raw) == "false"
}

func parseString(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

func parseObject(raw json.RawMessage) (*fields, bool) {
	values, err := members(raw)
	return &fields{values: values}, err == nil
}

// parseList takes an array of at most so many items of one type.
func parseList[T any](most int, parse func(json.RawMessage) (T, bool)) func(json.RawMessage) ([]T, bool) {
	return func(raw json.RawMessage) ([]T, bool) {
		d := json.NewDecoder(bytes.NewReader(raw))
		if start, err := d.Token(); err != nil || start != json.Delim('[') {
			return nil, false
		}
		values := []T{}
		for d.More() {
			var item json.RawMessage
			if len(values) == most || d.Decode(&item) != nil {
				return nil, false
			}
			value, ok := parse(item)
			if !ok {
				return nil, false
			}
			values = append(values, value)
		}
		return values, atEnd(d) == nil
	}
}

// parseTokens takes an array of token ids, without a detour over slices of each number: prompts may be long.
func parseTokens(raw json.RawMessage) ([]int32, bool) {
	var ids []int32
	if len(raw) == 0 || raw[0] != '[' || bytes.Contains(raw, []byte("null")) || json.Unmarshal(raw, &ids) != nil {
		return nil, false
	}
	return ids, true
}

// parseOneOrMany takes a value or an array of at most so many values.
func parseOneOrMany[T any](most int, parse func(json.RawMessage) (T, bool)) func(json.RawMessage) ([]T, bool) {
	return func(raw json.RawMessage) ([]T, bool) {
		if value, ok := parse(raw); ok {
			return []T{value}, true
		}
		return parseList(most, parse)(raw)
	}
}

// parseBias takes OpenAI's logit_bias: an object of numbers whose names are token ids.
func parseBias(raw json.RawMessage) (map[int32]float64, bool) {
	object, ok := parseObject(raw)
	if !ok {
		return nil, false
	}
	bias := make(map[int32]float64, len(object.values))
	for name, raw := range object.values {
		id, okID := parseToken(json.RawMessage(name))
		value, okValue := parseFloat(raw)
		if !okID || !okValue {
			return nil, false
		}
		bias[id] = value
	}
	return bias, true
}

// shown is a value as an error message shows it: not more of it than a reader wants.
func shown(raw json.RawMessage) string {
	const most = 60
	if len(raw) <= most {
		return string(raw)
	}
	return strings.ToValidUTF8(string(raw[:most]), "") + "…"
}

// refuse fails for members that would change the answer in a way that is not supported, unless their value is nothing or one
// of those (compact JSON) that change nothing.
func (f *fields) refuse(unsupported map[string][]string) {
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		harmless, ok := unsupported[name]
		if !ok {
			continue
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, f.values[name]); err != nil {
			f.fail(name, "%v", err)
		}
		if value := compact.String(); !slices.Contains(nothing, value) && !slices.Contains(harmless, value) {
			f.fail(name, "%s is not supported", shown(f.values[name]))
		}
	}
}
