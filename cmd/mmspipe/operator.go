package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"mmspipe/ingest/operate"
	"mmspipe/store"
	"mmspipe/store/rest"
)

// line is one of an answer of the operator API that takes its time: progress, as
// often as there is some, and at last a result or an error.
type line[R any] struct {
	Progress *R     `json:"progress,omitempty"`
	Result   *R     `json:"result,omitempty"`
	Error    string `json:"error,omitempty"`
}

// operatorAPI is what the commands for people on call ask, on the admin listener.
// It needs the operator's key, for changes one that may write.
func (s *service) operatorAPI() http.Handler {
	o := s.onCall()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /operator/failed", s.operator(func(w http.ResponseWriter, r *http.Request) error { return failed(o, w, r) }))
	mux.HandleFunc("GET /operator/status", s.operator(func(w http.ResponseWriter, r *http.Request) error { return s.status(o, w, r) }))
	mux.HandleFunc("GET /operator/messages/{sid}", s.operator(func(w http.ResponseWriter, r *http.Request) error { return message(o, w, r) }))
	mux.HandleFunc("POST /operator/replay", s.operator(func(w http.ResponseWriter, r *http.Request) error { return replay(o, w, r) }))
	mux.HandleFunc("POST /operator/erase", s.operator(func(w http.ResponseWriter, r *http.Request) error { return erase(o, w, r) }))
	mux.HandleFunc("POST /operator/reconcile", s.operator(func(w http.ResponseWriter, r *http.Request) error { return reconcile(o, w, r) }))
	mux.HandleFunc("POST /operator/delete-upstream", s.operator(func(w http.ResponseWriter, r *http.Request) error { return deleteCopies(o, w, r) }))
	mux.HandleFunc("POST /operator/reindex", s.operator(func(w http.ResponseWriter, r *http.Request) error { return reindex(o, w, r) }))
	return mux
}

// operator admits those with an operator's key, and answers with the error of h
// where that has not answered yet.
func (s *service) operator(h func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		identity, err := s.keys.Authenticate(r)
		if err == nil && (identity.Account != rest.Operator || r.Method != http.MethodGet && !identity.Write) {
			err = rest.Unauthorized()
		}
		if err == nil {
			err = h(w, r)
		}
		if err == nil {
			return
		}
		s.log.Warn().Err(err).Str("method", r.Method).Str("path", r.URL.Path).Msg("operator request")
		if api, ok := errors.AsType[*rest.Error](err); ok {
			rest.WriteError(w, r, api)
			return
		}
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// parseQuery reads what failures or messages are meant.
func parseQuery(values url.Values) (operate.Query, error) {
	var q operate.Query
	var err [5]error
	if v := values.Get("account"); v != "" {
		q.Account, err[0] = store.ParseAccountSID(v)
	}
	if v := values.Get("message"); v != "" {
		q.Message, err[1] = store.ParseMessageSID(v)
	}
	if v := values.Get("media"); v != "" {
		q.Media, err[2] = store.ParseMediaSID(v)
	}
	if v := values.Get("since"); v != "" {
		q.Since, err[3] = time.Parse(time.RFC3339, v)
	}
	if v := values.Get("until"); v != "" {
		q.Until, err[4] = time.Parse(time.RFC3339, v)
	}
	q.Reason = values.Get("reason")
	return q, errors.Join(err[:]...)
}

// failed is GET /operator/failed: one failure on each line.
func failed(o *operate.Operator, w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.Query())
	if err != nil {
		return err
	}
	out := newLines[operate.Failure](w)
	for f, err := range o.Failed(r.Context(), q) {
		if err != nil {
			return out.write(line[operate.Failure]{Error: err.Error()})
		}
		if err := out.write(line[operate.Failure]{Result: &f}); err != nil {
			return nil // the client has gone
		}
	}
	return nil
}

// progressEach is how often progress is told.
const progressEach = 200 * time.Millisecond

// replay is POST /operator/replay.
func replay(o *operate.Operator, w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	q, err := parseQuery(r.Form)
	if err != nil {
		return err
	}
	all, _ := strconv.ParseBool(r.Form.Get("all"))
	dryRun, _ := strconv.ParseBool(r.Form.Get("dryRun"))
	return work(w, func(seen func(operate.Replayed)) (operate.Replayed, error) {
		return o.Replay(r.Context(), q, all, dryRun, r.Form.Get("run"), seen)
	})
}

// erase is POST /operator/erase.
func erase(o *operate.Operator, w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	q, err := parseQuery(r.Form)
	if err != nil {
		return err
	}
	if r.Form.Get("number") == "" {
		return errors.New("no number is given")
	}
	dryRun, _ := strconv.ParseBool(r.Form.Get("dryRun"))
	return work(w, func(seen func(operate.Receipt)) (operate.Receipt, error) {
		return o.Erase(r.Context(), q.Account, r.Form.Get("number"), dryRun, seen)
	})
}

// work answers with the progress of what takes its time, and its result.
func work[R any](w http.ResponseWriter, do func(seen func(R)) (R, error)) error {
	out := newLines[R](w)
	told := time.Now()
	result, err := do(func(r R) {
		if time.Since(told) > progressEach {
			told = time.Now()
			_ = out.write(line[R]{Progress: &r}) // a client that has gone ends the request's context
		}
	})
	last := line[R]{Result: &result}
	if err != nil {
		last.Error = err.Error()
	}
	_ = out.write(last)
	return nil
}

// message is GET /operator/messages/{sid}.
func message(o *operate.Operator, w http.ResponseWriter, r *http.Request) error {
	sid, err := store.ParseMessageSID(r.PathValue("sid"))
	if err != nil {
		return err
	}
	private, _ := strconv.ParseBool(r.URL.Query().Get("private"))
	known, err := o.Message(r.Context(), sid, private)
	if errors.Is(err, operate.ErrUnknown) {
		return rest.NotFound(r)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, known)
}

// status is GET /operator/status.
func (s *service) status(o *operate.Operator, w http.ResponseWriter, r *http.Request) error {
	status, err := o.Status(r.Context())
	if err != nil {
		return err
	}
	free, _, err := space(s.data)
	if err != nil {
		return err
	}
	class := s.class.Load()
	return writeJSON(w, serviceStatus{Status: status, Workers: s.workers, FreeDisk: free, Durability: durability{class.Class, class.reason}})
}

// serviceStatus is how this process is doing, with the streams.
type serviceStatus struct {
	operate.Status
	Workers    int        `json:"workers"`
	FreeDisk   int64      `json:"freeDiskBytes"`
	Durability durability `json:"durability"`
}

func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// lines writes an answer line by line.
type lines[R any] struct {
	encoder *json.Encoder
	control *http.ResponseController
}

func newLines[R any](w http.ResponseWriter) lines[R] {
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // it would end the request's context; all of it was read
	return lines[R]{json.NewEncoder(w), control}
}

func (l lines[R]) write(v line[R]) error {
	_ = l.control.SetWriteDeadline(time.Now().Add(time.Minute)) // work takes its time
	return errors.Join(l.encoder.Encode(v), l.control.Flush())
}

// addressFile is where the commands find the admin listener of the service that
// uses a data directory.
const addressFile = "admin-address"

// noteAddress writes the address of the admin listener until the service stops.
func (s *service) noteAddress() error {
	path := filepath.Join(s.data, addressFile)
	if err := os.WriteFile(path, []byte(s.admin.Addr().String()+"\n"), 0o600); err != nil {
		return fmt.Errorf("note admin address: %w", err)
	}
	return nil
}
