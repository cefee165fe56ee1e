package handlers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
)

const (
	answersKept     = 24 * time.Hour
	answerPrefix    = "answer/"
	idempotencyName = "Idempotency-Key"
	// keyedTimeout ends a call whose client has gone: it is carried to its end without it, so that the
	// next try finds an answer.
	keyedTimeout = 5 * time.Minute
)

// keptAnswer is the first answer to a key. Until Done, the request is under way.
type keptAnswer struct {
	Fingerprint string
	Done        bool
	Status      int
	ContentType string
	Header      http.Header
	Body        []byte
}

// idempotent carries a request with an Idempotency-Key out once: another one with the same key and
// body of the same user gets the first one's answer.
func (a *API) idempotent(next handler) handler {
	return func(r *http.Request) (reply, error) {
		key := r.Header.Get(idempotencyName)
		owner, known := a.ownerOf(r)
		if key == "" || !known || dryRun(r) {
			return next(r)
		}
		fingerprint, err := fingerprintOf(r)
		if err != nil {
			return reply{}, err
		}
		sum := sha256.Sum256([]byte(owner + "\x00" + key))
		at := answerPrefix + hex.EncodeToString(sum[:])
		kept, err := a.claimKey(r.Context(), at, fingerprint)
		if err != nil || kept != nil {
			return replay(kept, fingerprint, err)
		}
		return a.firstTime(r, at, fingerprint, next)
	}
}

// claimKey begins a request, or gives the one that had begun before.
func (a *API) claimKey(ctx context.Context, at, fingerprint string) (*keptAnswer, error) {
	var kept *keptAnswer
	err := a.cfg.Store.Update(ctx, at, func(old []byte) ([]byte, time.Time, error) {
		kept = nil
		if old != nil {
			kept = &keptAnswer{}
			return old, a.now().Add(answersKept), json.Unmarshal(old, kept)
		}
		text, err := json.Marshal(keptAnswer{Fingerprint: fingerprint})
		return text, a.now().Add(answersKept), err
	})
	return kept, err
}

func replay(kept *keptAnswer, fingerprint string, err error) (reply, error) {
	switch {
	case err != nil:
		return reply{}, err
	case kept.Fingerprint != fingerprint:
		detail := "was used with another request"
		return reply{}, &backends.Error{
			Code:   backends.Unprocessable,
			Detail: "The Idempotency-Key " + detail + ": take a new one for each change.",
			Fields: []backends.FieldError{{Parameter: idempotencyName, Detail: detail}},
		}
	case !kept.Done:
		return reply{}, &backends.Error{
			Code:   backends.Conflict,
			Detail: "The request with this Idempotency-Key is still being carried out.",
			Wait:   time.Second,
		}
	}
	header := kept.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Idempotency-Replayed", "true")
	return reply{status: kept.Status, body: rawBody{kept.ContentType, kept.Body}, header: header}, nil
}

// firstTime carries the request out, whether its client stays or not, and keeps the answer. One that
// says to try again is not kept.
func (a *API) firstTime(r *http.Request, at, fingerprint string, next handler) (answer reply, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), keyedTimeout)
	defer cancel()
	kept := keptAnswer{Fingerprint: fingerprint, Done: true}
	ended := false
	defer func() {
		if !ended { // a panic: whether something was changed is not known
			a.keepError(&kept, r, &backends.Error{Code: backends.Internal, MaybeDone: true})
			_ = a.keepAnswer(ctx, at, &kept) // the panic is what gets logged
		}
	}()
	answer, err = next(r.WithContext(ctx))
	ended = true
	switch {
	case err == nil:
		var body rawBody
		if body, err = answer.encoded(); err != nil {
			return answer, err
		}
		kept.Status, kept.ContentType, kept.Header, kept.Body = answer.status, body.contentType, answer.header, body.text
	case problem(err, "").Retryable:
		return answer, errors.Join(err, a.forgetKey(ctx, at))
	default:
		a.keepError(&kept, r, err)
	}
	if failed := a.keepAnswer(ctx, at, &kept); failed != nil {
		a.logFor(r).Error("the answer to an Idempotency-Key cannot be kept", errorField(failed))
	}
	return answer, err
}

func (a *API) keepError(kept *keptAnswer, r *http.Request, err error) {
	p := problem(err, middleware.GetReqID(r.Context()))
	kept.Status, kept.ContentType = p.Status, problemType
	kept.Body, _ = encodeJSON(p) // texts and lists of texts only
}

func (a *API) keepAnswer(ctx context.Context, at string, kept *keptAnswer) error {
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return a.cfg.Store.Update(ctx, at, func([]byte) ([]byte, time.Time, error) {
		return text, a.now().Add(answersKept), nil
	})
}

func (a *API) forgetKey(ctx context.Context, at string) error {
	return a.cfg.Store.Update(ctx, at, func([]byte) ([]byte, time.Time, error) { return nil, time.Time{}, nil })
}

// Sweep drops the answers that nobody can ask for any more.
func (a *API) Sweep(ctx context.Context) error {
	_, err := a.cfg.Store.Take(ctx, answerPrefix, a.now())
	return err
}

// ownerOf names the user whose key it is: the login at the backend that the path or the body names.
func (a *API) ownerOf(r *http.Request) (string, bool) {
	session := auth.From(r.Context())
	if session == nil {
		return "", false
	}
	backend := ""
	for _, value := range chi.RouteContext(r.Context()).URLParams.Values {
		if id, err := backends.ParseID(value); err == nil {
			backend = id.Backend
			break
		}
	}
	if backend == "" {
		text, err := peek(r)
		var body struct{ Backend string }
		if err != nil || json.Unmarshal(text, &body) != nil {
			return "", false
		}
		backend = body.Backend
	}
	login, err := session.LoginAt(backend)
	return login.Owner(), err == nil
}

// fingerprintOf is equal for two requests that ask for the same: method, path, query, and the body
// as JSON.
func fingerprintOf(r *http.Request) (string, error) {
	text, err := peek(r)
	if err != nil {
		return "", err
	}
	if len(text) > 0 {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		var body any
		if err := dec.Decode(&body); err != nil {
			return "", err
		}
		if text, err = json.Marshal(body); err != nil {
			return "", err
		}
	}
	h := sha256.New()
	h.Write([]byte(strings.Join([]string{r.Method, r.URL.Path, r.URL.Query().Encode(), ""}, "\x00")))
	h.Write(text)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// peek reads the body, which the contract's check has bounded, and leaves it to be read again.
func peek(r *http.Request) ([]byte, error) {
	text, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(text))
	return text, err
}
