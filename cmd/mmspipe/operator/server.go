package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"mmspipe/cmd/mmspipe/health"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/upstream"
	"mmspipe/ingest/verify"
	"mmspipe/store"
	"mmspipe/store/number"
	"mmspipe/store/rest"

	"github.com/rs/zerolog"
)

// progressEach is the time between two lines of progress.
const progressEach = 200 * time.Millisecond

// Options are what the API works with. All are required.
type Options struct {
	Operations operate.Operations
	Verifier   *verify.Verifier
	Accounts   []store.AccountSID // that the service works for
	Region     number.Region      // of phone numbers without a country code
	Keys       *rest.Keys
	Process    func() (Process, error) // how this process is doing
	Health     *health.Checker
	Log        zerolog.Logger
}

type server struct{ Options }

// New returns the API, whose paths begin with /operator/, and /readyz in detail.
func New(o Options) http.Handler {
	s := &server{o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", s.ready)
	for pattern, handle := range map[string]handler{
		"GET /operator/failed":           s.failed,
		"GET /operator/status":           s.status,
		"GET /operator/messages/{sid}":   s.message,
		"POST /operator/replay":          s.replay,
		"POST /operator/erase":           s.erase,
		"POST /operator/reconcile":       s.reconcile,
		"POST /operator/delete-upstream": s.deleteUpstream,
		"POST /operator/reindex":         s.reindex,
		"POST /operator/verify":          s.verify,
	} {
		mux.HandleFunc(pattern, s.admit(handle))
	}
	return mux
}

// handler answers a request, or returns an error before it has answered anything.
type handler func(w http.ResponseWriter, r *http.Request, p *params) error

// admit admits those with an operator's key, and answers with the handler's error.
func (s *server) admit(handle handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := s.authenticate(r)
		var p *params
		if err == nil {
			p, err = readParams(r)
		}
		if err == nil {
			err = handle(w, r, p)
		}
		if err != nil {
			s.refuse(w, r, err)
		}
	}
}

// refuse answers with an error: what is wrong with the request, or which dependency
// does not answer. The log has the whole of it.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	s.Log.Warn().Err(err).Str("method", r.Method).Str("path", r.URL.Path).Msg("operator request")
	if answer, ok := errors.AsType[*rest.Error](err); ok {
		rest.WriteError(w, r, answer)
		return
	}
	if _, ok := errors.AsType[badRequest](err); ok {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	text, status := s.explain(r.Context(), err)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)) // work may have taken its time
	http.Error(w, text, status)
}

// explain says why a request could not be answered: a dependency does not answer, or
// something else is wrong here. It asks the queue and the object store, because an
// error of theirs looks different at each place.
func (s *server) explain(ctx context.Context, err error) (text string, status int) {
	if trouble, ok := errors.AsType[*upstream.Error](err); ok && (trouble.Status == 0 || trouble.Status >= 500 || trouble.Status == http.StatusTooManyRequests) {
		return "the provider does not answer: " + health.WithoutURL(err), http.StatusServiceUnavailable
	}
	if away := s.Health.Check(ctx).Away(); away != "" {
		return away, http.StatusServiceUnavailable
	}
	return health.WithoutURL(err), http.StatusInternalServerError
}

func (s *server) authenticate(r *http.Request) error {
	identity, err := s.Keys.Authenticate(r)
	if err == nil && (identity.Account != rest.Operator || r.Method != http.MethodGet && !identity.Write) {
		return rest.Unauthorized()
	}
	return err
}

// failed answers with one failure on each line.
func (s *server) failed(w http.ResponseWriter, r *http.Request, p *params) error {
	q := p.query(s.Accounts)
	if err := p.err(); err != nil {
		return err
	}
	out := newLines[operate.Failure](w)
	for f, err := range s.Operations.Failures.List(r.Context(), q) {
		if err != nil {
			return breakOff(r.Context(), s, out, err)
		}
		if err := out.write(line[operate.Failure]{Result: &f}); err != nil {
			return nil // the client has gone
		}
	}
	return nil
}

func (s *server) status(w http.ResponseWriter, r *http.Request, p *params) error {
	if err := p.err(); err != nil {
		return err
	}
	status, err := s.Operations.Inspector.Status(r.Context())
	if err != nil {
		return err
	}
	process, err := s.Process()
	if err != nil {
		return err
	}
	return writeJSON(w, Status{Status: status, Process: process})
}

// message answers with what is known of a message, without private data unless
// private is true.
func (s *server) message(w http.ResponseWriter, r *http.Request, p *params) error {
	private := p.flag("private")
	sid, err := store.ParseMessageSID(r.PathValue("sid"))
	if err != nil {
		return badRequest{err}
	}
	if err := p.err(); err != nil {
		return err
	}
	known, err := s.Operations.Inspector.Message(r.Context(), sid, private)
	if errors.Is(err, operate.ErrUnknown) {
		return rest.NotFound(r)
	}
	if err != nil {
		return err
	}
	if private {
		return writeJSON(w, known)
	}
	shown, err := withoutEmpty(known.Message)
	if err != nil {
		return err
	}
	return writeJSON(w, struct {
		operate.Known
		Message map[string]any `json:"message"`
	}{known, shown})
}

// withoutEmpty is a message without the texts that are empty, as those are that are
// hidden: an empty one would say that there was none.
func withoutEmpty(m store.Message) (shown map[string]any, err error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // a float64 does not hold every sequence
	err = decoder.Decode(&shown)
	leaveOutEmpty(shown)
	return shown, err
}

// leaveOutEmpty removes empty texts from an object and all below it.
func leaveOutEmpty(v any) {
	fields, _ := v.(map[string]any)
	for name, value := range fields {
		if value == "" {
			delete(fields, name)
		}
		leaveOutEmpty(value)
	}
}

func (s *server) replay(w http.ResponseWriter, r *http.Request, p *params) error {
	q, all, dryRun, run := p.query(s.Accounts), p.flag("all"), p.flag("dryRun"), p.text("run")
	if err := p.err(); err != nil {
		return err
	}
	return work(s, w, r, func(seen func(operate.Replayed)) (operate.Replayed, error) {
		return s.Operations.Failures.Replay(r.Context(), q, all, dryRun, run, seen)
	})
}

func (s *server) erase(w http.ResponseWriter, r *http.Request, p *params) error {
	account, number, dryRun := p.account(s.Accounts), p.number("number", s.Region), p.flag("dryRun")
	if len(p.values["number"]) == 0 {
		p.mistake("number", "is not given")
	}
	if err := p.err(); err != nil {
		return err
	}
	return work(s, w, r, func(seen func(operate.Receipt)) (operate.Receipt, error) {
		return s.Operations.Eraser.Erase(r.Context(), account, number, dryRun, seen)
	})
}

func (s *server) reconcile(w http.ResponseWriter, r *http.Request, p *params) error {
	options := operate.ReconcileOptions{
		Account: p.account(s.Accounts), Since: p.moment("since"), Until: p.moment("until"), Fix: p.flag("fix"),
	}
	if err := p.err(); err != nil {
		return err
	}
	return work(s, w, r, func(seen func(operate.Reconciled)) (operate.Reconciled, error) {
		return s.Operations.Reconciler.Reconcile(r.Context(), options, func(p operate.Progress) { seen(operate.Reconciled{Progress: p}) })
	})
}

func (s *server) deleteUpstream(w http.ResponseWriter, r *http.Request, p *params) error {
	dryRun := p.flag("dryRun")
	if err := p.err(); err != nil {
		return err
	}
	return work(s, w, r, func(seen func(operate.DeletedUpstream)) (operate.DeletedUpstream, error) {
		return s.Operations.Copies.Delete(r.Context(), time.Now().Add(-UpstreamGrace), dryRun, func(messages int) {
			seen(operate.DeletedUpstream{Messages: messages, DryRun: dryRun})
		})
	})
}

func (s *server) reindex(w http.ResponseWriter, r *http.Request, p *params) error {
	dryRun := p.flag("dryRun")
	if err := p.err(); err != nil {
		return err
	}
	return work(s, w, r, func(seen func(operate.Reindexed)) (operate.Reindexed, error) {
		return s.Operations.Indexer.Reindex(r.Context(), dryRun, seen)
	})
}

func (s *server) verify(w http.ResponseWriter, r *http.Request, p *params) error {
	fix := p.flag("fix")
	if err := p.err(); err != nil {
		return err
	}
	return work(s, w, r, func(seen func(verify.Verified)) (verify.Verified, error) {
		return s.Verifier.Verify(r.Context(), fix, seen)
	})
}

// work answers with the progress of what takes its time, and its result. A client
// that has gone ends the request's context, and with it the work.
func work[R any](s *server, w http.ResponseWriter, r *http.Request, do func(seen func(R)) (R, error)) error {
	out := newLines[R](w)
	last := time.Now()
	result, err := do(func(r R) {
		if time.Since(last) > progressEach {
			last = time.Now()
			_ = out.write(line[R]{Progress: &r})
		}
	})
	if err != nil {
		return breakOff(r.Context(), s, out, err)
	}
	_ = out.write(line[R]{Result: &result})
	return nil
}

// breakOff ends an answer with an error. An answer that has not begun can still be
// another one: the error is returned.
func breakOff[R any](ctx context.Context, s *server, out *lines[R], err error) error {
	if !out.begun {
		return err
	}
	s.Log.Warn().Err(err).Msg("operator request broken off")
	text, _ := s.explain(ctx, err)
	_ = out.write(line[R]{Error: text})
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// lines writes an answer line by line.
type lines[R any] struct {
	encoder *json.Encoder
	control *http.ResponseController
	begun   bool // something was written
}

func newLines[R any](w http.ResponseWriter) *lines[R] {
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // it would end the request's context; all of it was read
	return &lines[R]{encoder: json.NewEncoder(w), control: control}
}

func (l *lines[R]) write(v line[R]) error {
	l.begun = true
	_ = l.control.SetWriteDeadline(time.Now().Add(time.Minute)) // work takes its time
	return errors.Join(l.encoder.Encode(v), l.control.Flush())
}
