package operations

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/store"
)

// What the store holds. An owner is kept as a hash, which keeps user names out of keys.
//
//	operation/{owner}/{id}   an entry: the operation, and why it failed
//	operation-owner/{id}     the owner who started it; nobody else may see it
//	operation-gone/{owner}   the CreateTime of the newest operation that ended and is kept no more
const (
	entryPrefix = "operation/"
	claimPrefix = "operation-owner/"
	gonePrefix  = "operation-gone/"
)

const (
	// abandonedFor is how long a running operation is kept that no gateway follows.
	abandonedFor = 7 * 24 * time.Hour
	// goneFor outlives every operation that could still be asked for.
	goneFor = 30 * 24 * time.Hour
	// storeTime is what the store may take for one change, whether or not the client still waits.
	storeTime = 5 * time.Second
)

func hashOf(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return hex.EncodeToString(sum[:16])
}

func entryKey(owner string, id backends.ID) string { return entryPrefix + owner + "/" + id.String() }

func claimKey(id backends.ID) string { return claimPrefix + id.String() }

// entry is an operation as the store holds it.
type entry struct {
	Owner     string              `json:"owner"`
	Claimed   bool                `json:"claimed,omitempty"`   // its owner started it
	Cancelled bool                `json:"cancelled,omitempty"` // the backend took a cancel from its owner
	Operation *backends.Operation `json:"operation"`
	Error     *failure            `json:"error,omitempty"`
}

// failure is a backends.Error without its cause, which is for the log of the moment only. The code
// goes by its name, which no release changes.
type failure struct {
	Code        string                `json:"code"`
	Op          string                `json:"op,omitempty"`
	Detail      string                `json:"detail,omitempty"`
	Fields      []backends.FieldError `json:"fields,omitempty"`
	Fault       *backends.Fault       `json:"fault,omitempty"`
	WaitSeconds float64               `json:"waitSeconds,omitempty"`
	State       *conflict             `json:"state,omitempty"`
	MaybeDone   bool                  `json:"maybeDone,omitempty"`
	SupportedBy []string              `json:"supportedBy,omitempty"`
	Applied     []string              `json:"applied,omitempty"`
	NotApplied  []string              `json:"notApplied,omitempty"`
	Allow       []string              `json:"allow,omitempty"`
}

type conflict struct {
	State          backends.State           `json:"state"`
	RawState       *backends.RawState       `json:"rawState,omitempty"`
	AllowedActions []backends.AllowedAction `json:"allowedActions,omitempty"`
}

func failureOf(e *backends.Error) *failure {
	if e == nil {
		return nil
	}
	f := &failure{
		Code: e.Code.String(), Op: e.Op, Detail: e.Detail, Fields: e.Fields, Fault: e.Fault,
		WaitSeconds: e.Wait.Seconds(), MaybeDone: e.MaybeDone, SupportedBy: e.SupportedBy,
		Applied: e.Applied, NotApplied: e.NotApplied, Allow: e.Allow,
	}
	if s := e.State; s != nil {
		f.State = &conflict{s.State, s.RawState, s.AllowedActions}
	}
	return f
}

func (f *failure) error() *backends.Error {
	if f == nil {
		return nil
	}
	e := &backends.Error{
		Op: f.Op, Detail: f.Detail, Fields: f.Fields, Fault: f.Fault,
		Wait: time.Duration(f.WaitSeconds * float64(time.Second)), MaybeDone: f.MaybeDone, SupportedBy: f.SupportedBy,
		Applied: f.Applied, NotApplied: f.NotApplied, Allow: f.Allow,
	}
	codes := backends.Codes()
	if i := slices.IndexFunc(codes, func(c backends.Code) bool { return c.String() == f.Code }); i >= 0 {
		e.Code = codes[i]
	}
	if s := f.State; s != nil {
		e.State = &backends.StateConflict{State: s.State, RawState: s.RawState, AllowedActions: s.AllowedActions}
	}
	return e
}

func (e entry) encode() ([]byte, error) {
	e.Error = failureOf(e.Operation.Err)
	return json.Marshal(e)
}

func decode(text []byte) (entry, error) {
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return entry{}, fmt.Errorf("an operation in the store: %w", err)
	}
	if e.Operation == nil {
		return entry{}, errors.New("an operation in the store: there is none in its entry")
	}
	e.Operation.Err = e.Error.error()
	return e, nil
}

// load gives store.ErrNoEntry for what the store does not hold.
func (t *Tracker) load(ctx context.Context, key string) (entry, error) {
	text, err := t.cfg.Store.Load(ctx, key)
	if err != nil {
		return entry{}, err
	}
	return decode(text)
}

// save stores an operation and gives it as it is stored: how another gateway saw it end, if one did.
func (t *Tracker) save(ctx context.Context, e entry) (*backends.Operation, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	saved, err := t.tryToSave(ctx, e)
	if !errors.Is(err, store.ErrNoEntry) {
		return saved, err
	}
	if err := t.sweep(ctx); err != nil { // it has lapsed, and lies in its own way
		return nil, err
	}
	return t.tryToSave(ctx, e)
}

func (t *Tracker) tryToSave(ctx context.Context, e entry) (*backends.Operation, error) {
	expire := t.cfg.Now().Add(abandonedFor)
	if e.Operation.Done() {
		expire = t.cfg.Now().Add(t.cfg.Keep)
	}
	if e.Claimed { // first, so that nobody else can have it in between
		err := t.cfg.Store.Update(ctx, claimKey(e.Operation.ID), func([]byte) ([]byte, time.Time, error) {
			return []byte(e.Owner), expire, nil
		})
		if err != nil {
			return nil, err
		}
	}
	saved := e.Operation
	err := t.cfg.Store.Update(ctx, entryKey(e.Owner, e.Operation.ID), func(old []byte) ([]byte, time.Time, error) {
		next := e
		if old != nil {
			was, err := decode(old)
			if err != nil {
				return nil, time.Time{}, err
			}
			next.Claimed = e.Claimed || was.Claimed
			next.Cancelled = e.Cancelled || was.Cancelled
			next.Operation = merge(was.Operation, outcome(e.Operation, next.Cancelled))
			if saved = next.Operation; was.Operation.Done() {
				return nil, time.Time{}, errEnded
			}
		}
		text, err := next.encode()
		return text, expire, err
	})
	if errors.Is(err, errEnded) {
		err = nil
	}
	return saved, err
}

// errEnded leaves an entry as it is.
var errEnded = errors.New("the operation has ended")

// merge is what is known of an operation after one more look. It never goes back.
func merge(was, is *backends.Operation) *backends.Operation {
	if was == nil {
		return is
	}
	if was.Done() {
		return was
	}
	next := *is
	next.CreateTime = was.CreateTime
	if next.VM == nil {
		next.VM = was.VM
	}
	if was.Progress != nil && !next.Done() && (next.Progress == nil || *next.Progress < *was.Progress) {
		next.Progress = was.Progress
	}
	return &next
}

// outcome is an operation as its owner sees it, who may have cancelled it: work that the backend gave
// up was given up for him. A backend that knows what was cancelled says so itself.
func outcome(op *backends.Operation, cancelled bool) *backends.Operation {
	if !cancelled || op.State != backends.OperationFailed || !op.GaveUp {
		return op
	}
	ended := *op
	ended.State, ended.Err, ended.GaveUp = backends.OperationCancelled, nil, false
	return &ended
}

// differ reports whether a client would see a difference.
func differ(a, b *backends.Operation) bool {
	if a == nil || b == nil {
		return a != b
	}
	same := a.State == b.State && a.Cancellable == b.Cancellable && (a.Progress == nil) == (b.Progress == nil)
	return !same || a.Progress != nil && *a.Progress != *b.Progress
}

// ownerOf gives the hash of the owner who started an operation, "" when nobody is known.
func (t *Tracker) ownerOf(ctx context.Context, id backends.ID) (string, error) {
	owner, err := t.cfg.Store.Load(ctx, claimKey(id))
	if errors.Is(err, store.ErrNoEntry) {
		return "", nil
	}
	return string(owner), err
}

// decodeAge decodes only what tells which entries are the oldest.
func decodeAge(text []byte) (entry, error) {
	var e struct {
		Claimed   bool
		Operation struct {
			ID         backends.ID
			State      backends.OperationState
			CreateTime time.Time
		}
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return entry{}, fmt.Errorf("an operation in the store: %w", err)
	}
	o := e.Operation
	return entry{Claimed: e.Claimed, Operation: &backends.Operation{ID: o.ID, State: o.State, CreateTime: o.CreateTime}}, nil
}

// entries gives what the store holds of an owner.
func (t *Tracker) entries(ctx context.Context, owner string) ([]entry, error) {
	return t.entriesAs(ctx, owner, decode)
}

func (t *Tracker) entriesAs(ctx context.Context, owner string, decode func([]byte) (entry, error)) ([]entry, error) {
	texts, err := t.cfg.Store.List(ctx, entryPrefix+owner+"/")
	if err != nil {
		return nil, err
	}
	all := make([]entry, 0, len(texts))
	for _, text := range texts {
		e, err := decode(text)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// sweep takes out of the store what has lapsed.
func (t *Tracker) sweep(ctx context.Context) error {
	t.sweeping.Lock()
	defer t.sweeping.Unlock()
	now := t.cfg.Now()
	taken, err := t.cfg.Store.Take(ctx, entryPrefix, now)
	if err != nil {
		return err
	}
	var errs []error
	ended := make(map[string][]entry)
	for _, text := range taken {
		if e, err := decode(text); err != nil {
			errs = append(errs, err)
		} else {
			ended[e.Owner] = append(ended[e.Owner], e)
		}
	}
	for owner, all := range ended {
		errs = append(errs, t.noteGone(ctx, owner, all))
	}
	_, err = t.cfg.Store.Take(ctx, claimPrefix, now)
	return errors.Join(append(errs, err)...)
}

// noteGone remembers up to when operations that have ended are kept no more: on OpenNebula the driver
// would judge one anew that has long ended, by what became of the VM since.
func (t *Tracker) noteGone(ctx context.Context, owner string, all []entry) error {
	var newest time.Time
	for _, e := range all {
		if e.Operation.Done() && e.Operation.CreateTime.After(newest) {
			newest = e.Operation.CreateTime
		}
	}
	if newest.IsZero() {
		return nil
	}
	return t.cfg.Store.Update(ctx, gonePrefix+owner, func(old []byte) ([]byte, time.Time, error) {
		if was, err := time.Parse(time.RFC3339Nano, string(old)); err == nil && was.After(newest) {
			newest = was
		}
		return newest.AppendFormat(nil, time.RFC3339Nano), t.cfg.Now().Add(goneFor), nil
	})
}

// isGone reports whether an operation that the store does not hold was kept and is kept no more.
func (t *Tracker) isGone(ctx context.Context, owner string, op *backends.Operation) (bool, error) {
	if err := t.sweep(ctx); err != nil {
		return false, err
	}
	text, err := t.cfg.Store.Load(ctx, gonePrefix+owner)
	if errors.Is(err, store.ErrNoEntry) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	newest, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return false, fmt.Errorf("a time in the store: %w", err)
	}
	return !op.CreateTime.After(newest), nil
}

// trim keeps the newest operations of an owner. Those that have ended go first.
func (t *Tracker) trim(ctx context.Context, owner string) error {
	all, err := t.entriesAs(ctx, owner, decodeAge)
	excess := len(all) - t.cfg.PerOwner
	if err != nil || excess <= 0 {
		return err
	}
	slices.SortFunc(all, func(a, b entry) int {
		if a.Operation.Done() != b.Operation.Done() {
			if a.Operation.Done() {
				return -1
			}
			return 1
		}
		return -newestFirst(a.Operation, b.Operation)
	})
	surplus := all[:excess]
	errs := []error{t.noteGone(ctx, owner, surplus)}
	remove := func([]byte) ([]byte, time.Time, error) { return nil, time.Time{}, nil }
	for _, e := range surplus {
		key := entryKey(owner, e.Operation.ID)
		t.drop(key)
		errs = append(errs, present(t.cfg.Store.Update(ctx, key, remove)))
		if e.Claimed {
			errs = append(errs, present(t.cfg.Store.Update(ctx, claimKey(e.Operation.ID), remove)))
		}
	}
	return errors.Join(errs...)
}

// present forgives that an entry to be removed has lapsed.
func present(err error) error {
	if errors.Is(err, store.ErrNoEntry) {
		return nil
	}
	return err
}

func newestFirst(a, b *backends.Operation) int {
	if c := b.CreateTime.Compare(a.CreateTime); c != 0 {
		return c
	}
	return compareIDs(b.ID, a.ID)
}

func compareIDs(a, b backends.ID) int {
	switch x, y := a.String(), b.String(); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}
