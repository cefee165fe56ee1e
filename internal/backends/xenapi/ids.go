package xenapi

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

const nullRef = "OpaqueRef:NULL"

// refPattern finds what is like a secret in any text of xapi's: references, the pseudo-references of
// its internal tasks, and the hash by which its messages name a session.
var refPattern = regexp.MustCompile(`(?i)OpaqueRef:[0-9A-Za-z._-]*|DummyRef:[^\s"'<>]*|trackid=[0-9a-f]+`)

// CheckID reports whether native is a uuid as xapi writes it: 8-4-4-4-12 lower-case hexadecimal
// digits. xapi does not find one in capitals.
func (d *Driver) CheckID(native string) bool { return isUUID(native) }

func isUUID[T string | []byte](s T) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// object is something in XenAPI, as it is known for ever.
type object struct{ class, uuid string }

// refs remembers which reference stands for which object. References are the same for all users,
// and live as long as xapi's database does. It is safe for concurrent use.
type refs struct {
	mu      sync.RWMutex
	objects map[string]object // by reference
	refs    map[object]string
}

// maxRefs bounds the memory: when it is full, all is forgotten and learnt anew. It is some 50 MB.
const maxRefs = 1 << 18

func newRefs() *refs {
	return &refs{objects: map[string]object{}, refs: map[object]string{}}
}

func (r *refs) object(ref string) (object, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	o, ok := r.objects[ref]
	return o, ok
}

func (r *refs) ref(o object) (string, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ref, ok := r.refs[o]
	return ref, ok
}

func (r *refs) learn(o object, ref string) {
	if known, ok := r.object(ref); ok && known == o {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.objects) >= maxRefs {
		clear(r.objects)
		clear(r.refs)
	}
	if old, ok := r.refs[o]; ok {
		delete(r.objects, old)
	}
	r.objects[ref], r.refs[o] = o, ref
}

// maxListed is how many references lists leave in memory: however long one is, it takes no more. A verb
// on a VM beyond that costs one look-up.
const maxListed = 1 << 14

// learnListed is learnVM for a VM of a list.
func (r *refs) learnListed(ref, uuid []byte) {
	r.mu.RLock()
	full := len(r.objects) >= maxListed
	r.mu.RUnlock()
	if !full {
		r.learnVM(ref, uuid)
	}
}

// learnVM is learn for a VM, and costs nothing when it is known.
func (r *refs) learnVM(ref, uuid []byte) {
	r.mu.RLock()
	known, ok := r.objects[string(ref)]
	r.mu.RUnlock()
	if !ok || known.class != "VM" || known.uuid != string(uuid) {
		both := string(append(ref[:len(ref):len(ref)], uuid...))
		r.learn(object{"VM", both[len(ref):]}, both[:len(ref)])
	}
}

func (r *refs) forget(ref string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o, ok := r.objects[ref]; ok {
		delete(r.objects, ref)
		delete(r.refs, o)
	}
}

func (d *Driver) id(uuid string) backends.ID { return backends.ID{Backend: d.cfg.Name, Native: uuid} }

// mayTell reports whether refPattern may find something in a text: "ref:" or "trackid=", in whatever
// case. Most texts hold neither, and nearly all of a list's time would go into the pattern.
func mayTell[T string | []byte](text T) bool {
	const ref, track = "ref", "trackid"
	for i := len(ref); i < len(text); i++ {
		switch {
		case text[i] == ':' && strings.EqualFold(string(text[i-len(ref):i]), ref),
			text[i] == '=' && i >= len(track) && strings.EqualFold(string(text[i-len(track):i]), track):
			return true
		}
	}
	return false
}

// clean replaces every reference in a text of the backend's: by its id where that is known, else by
// the name of its class, or "reference".
func (d *Driver) clean(text, class string) string {
	if !mayTell(text) {
		return text
	}
	if class == "" {
		class = "reference"
	}
	return refPattern.ReplaceAllStringFunc(text, func(ref string) string {
		if o, ok := d.refs.object(ref); ok {
			return d.id(o.uuid).String()
		}
		if strings.EqualFold(ref, nullRef) {
			return "none"
		}
		return class
	})
}

// link is one request on its way to the backend: the session it speaks with, and what its refusals
// are to be told with. It is not safe for concurrent use.
type link struct {
	d       *Driver
	session string
	subject object            // what the URL names
	subRef  string            // the subject's reference, once known
	named   map[string]string // pointers of what the body names, by reference and by uuid
	doing   string            // "started": what cannot be done in a wrong state
	pointer string            // the member that is being set
}

func (d *Driver) link(s backends.Session) *link {
	return &link{d: d, session: s.Reveal(), named: map[string]string{}}
}

// call makes one call in the session. Errors are *backends.Error.
func (l *link) call(ctx context.Context, method string, args ...any) (scan.Value, error) {
	v, err := l.d.send(ctx, method, append([]any{l.session}, args...)...)
	if err != nil {
		return scan.Value{}, l.refine(err)
	}
	return v, nil
}

// callText makes a call that answers with a string.
func (l *link) callText(ctx context.Context, method string, args ...any) (string, error) {
	v, err := l.call(ctx, method, args...)
	if err != nil {
		return "", err
	}
	s, err := str(v)
	if err != nil {
		return "", l.d.undecodable(method, err)
	}
	return s, nil
}

// handle is an object with its reference of the moment.
type handle struct {
	object
	ref    string
	cached bool // the reference was not asked for in this request
}

// open finds the object of a URL. A native id of the wrong form is NotFound without a call.
func (l *link) open(ctx context.Context, class string, id backends.ID) (*handle, error) {
	if id.Backend != l.d.cfg.Name || !isUUID(id.Native) {
		return nil, l.d.notFound(id)
	}
	h := &handle{object: object{class, id.Native}}
	l.subject = h.object
	if ref, ok := l.d.refs.ref(h.object); ok {
		h.ref, h.cached = ref, true
		l.subRef = ref
		return h, nil
	}
	return h, l.renew(ctx, h)
}

// renew asks for the object's reference.
func (l *link) renew(ctx context.Context, h *handle) error {
	if h.ref != "" {
		l.d.refs.forget(h.ref)
	}
	ref, err := l.callText(ctx, h.class+".get_by_uuid", h.uuid)
	if err != nil {
		return err
	}
	h.ref, h.cached = ref, false
	if h.object == l.subject {
		l.subRef = ref
	}
	l.d.refs.learn(h.object, ref)
	return nil
}

// on makes a call whose first argument is h. When a remembered reference turns out to be stale, the
// call was not carried out: it is made again with a fresh one.
func (l *link) on(ctx context.Context, h *handle, method string, args ...any) (scan.Value, error) {
	v, err := l.call(ctx, method, append([]any{h.ref}, args...)...)
	if !h.stale(err) {
		return v, err
	}
	if err := l.renew(ctx, h); err != nil {
		return scan.Value{}, err
	}
	return l.call(ctx, method, append([]any{h.ref}, args...)...)
}

func (l *link) onText(ctx context.Context, h *handle, method string) (string, error) {
	v, err := l.on(ctx, h, method)
	if err != nil {
		return "", err
	}
	s, err := str(v)
	if err != nil {
		return "", l.d.undecodable(method, err)
	}
	return s, nil
}

func (h *handle) stale(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && h.cached && f.gone(h.ref)
}

// find is the reference of an object that a request's body names at pointer. It is always asked
// for: xapi accepts a dangling reference in silence.
func (l *link) find(ctx context.Context, pointer, class string, id backends.ID) (string, error) {
	if id.Backend != l.d.cfg.Name || !isUUID(id.Native) {
		return "", backends.Invalid(pointer, "expected an id of backend "+l.d.cfg.Name)
	}
	l.named[id.Native] = pointer
	ref, err := l.callText(ctx, class+".get_by_uuid", id.Native)
	if err != nil {
		return "", err
	}
	l.named[ref] = pointer
	l.d.refs.learn(object{class, id.Native}, ref)
	return ref, nil
}

// names turns the references of one answer into ids and names. Ids come from memory where they can,
// names are always asked for, since anybody may change them. In bulk, what is missing is read class
// by class and not one by one.
type names struct {
	*link
	bulk   bool
	few    bool // in bulk, but of a few VMs: only classes whose objects many VMs share are read as a whole
	loaded map[string]bool
	known  map[string]named // what was read of whole classes, by reference

	damaged map[string]error // records that cannot be read, by reference
	hosts   map[string]*hostMetricsRecord
	strays  int // VMs that were asked for one by one
}

// named is an object with its name, if its class has names.
type named struct{ uuid, label string }

func (l *link) names(bulk bool) *names {
	return &names{link: l, bulk: bulk, loaded: map[string]bool{}, known: map[string]named{}, damaged: map[string]error{}}
}

// labelled reports whether a class has name_label.
func labelled(class string) bool {
	switch class {
	case "host", "SR", "VDI", "network", "VM", "VM_appliance":
		return true
	}
	return false
}

// id is the id behind a reference; nil for the null reference and for an object that has gone.
func (n *names) id(ctx context.Context, class, ref string) (*backends.ID, error) {
	if ref == "" || ref == nullRef {
		return nil, nil
	}
	if id := n.remembered(ref); id != nil {
		return id, nil
	}
	if n.wholesale(class) {
		if err := n.load(ctx, class); err != nil {
			return nil, err
		}
		return n.remembered(ref), nil
	}
	if class == "VM" {
		n.strays++
	}
	uuid, err := n.callText(ctx, class+".get_uuid", ref)
	if err != nil {
		return nil, passOver(err)
	}
	n.d.refs.learn(object{class, uuid}, ref)
	return new(n.d.id(uuid)), nil
}

// wholesale reports whether an unknown object is a reason to read all of its class.
func (n *names) wholesale(class string) bool {
	switch {
	case n.few:
		return class == "host" || class == "SR" || class == "network"
	case class == "VM":
		return n.bulk && n.strays >= fewVMs
	}
	return n.bulk
}

// remembered is the id behind a reference that was met before; nil for any other.
func (n *names) remembered(ref string) *backends.ID {
	if o, ok := n.known[ref]; ok {
		return new(n.d.id(o.uuid))
	}
	if o, ok := n.d.refs.object(ref); ok {
		return new(n.d.id(o.uuid))
	}
	return nil
}

// ids are the ids behind references; those that have gone are left out.
func (n *names) ids(ctx context.Context, class string, refs []string) ([]backends.ID, error) {
	ids := make([]backends.ID, 0, len(refs))
	for _, ref := range refs {
		id, err := n.id(ctx, class, ref)
		if err != nil {
			return nil, err
		}
		if id != nil {
			ids = append(ids, *id)
		}
	}
	return ids, nil
}

// ref is the id and the name behind a reference.
func (n *names) ref(ctx context.Context, class, ref string) (*backends.Ref, error) {
	id, err := n.id(ctx, class, ref)
	if id == nil || err != nil {
		return nil, err
	}
	o, ok := n.known[ref]
	if !ok && n.bulk {
		if err := n.load(ctx, class); err != nil {
			return nil, err
		}
		o = n.known[ref]
	}
	if !ok && !n.bulk {
		if o.label, err = n.callText(ctx, class+".get_name_label", ref); err != nil {
			if f, isFailure := errors.AsType[*failure](err); isFailure && f.gone(ref) {
				n.d.refs.forget(ref) // remembered, and gone since
			}
			return nil, passOver(err)
		}
		o.uuid = id.Native
		n.known[ref] = o
	}
	return &backends.Ref{ID: *id, DisplayName: n.d.clean(o.label, "")}, nil
}

// load reads all of a class, once.
func (n *names) load(ctx context.Context, class string) error {
	if n.loaded[class] {
		return nil
	}
	n.loaded[class] = true
	if class == "VM" { // there are too many for a table of them
		return passOver(n.loadVMs(ctx))
	}
	_, err := readAll(ctx, n, class, basicFields)
	return passOver(err)
}

// passOver takes those refusals for an answer that mean "there is no such object for you": gone in
// the meantime, or somebody else's task.
func passOver(err error) error {
	if err == nil {
		return nil
	}
	switch backends.CodeOf(err) {
	case backends.NotFound, backends.Unprocessable, backends.PermissionDenied, backends.UnsupportedByBackend:
		return nil
	}
	return err
}

// basic is what nearly every class has.
type basic struct{ uuid, label string }

var basicFields = fields[basic]{
	"uuid":       text(func(r *basic) *string { return &r.uuid }),
	"name_label": text(func(r *basic) *string { return &r.label }),
}

// readAll reads all records of a class by their references, and learns their ids. A record that
// cannot be read is noted in n.damaged: it spoils what refers to it, and nothing else.
func readAll[T any](ctx context.Context, n *names, class string, table fields[T]) (map[string]*T, error) {
	n.loaded[class] = true
	return readWhere(ctx, n, class, table, class+".get_all_records")
}

func readWhere[T any](ctx context.Context, n *names, class string, table fields[T], method string, args ...any) (map[string]*T, error) {
	all := map[string]*T{}
	err := n.each(ctx, method, args, func(ref string, v scan.Value, err error) {
		var r *T
		if err == nil {
			r, err = noted(n, class, table, ref, v)
		}
		if err != nil {
			n.damaged[ref] = n.d.undecodable(method, err)
			return
		}
		all[ref] = r
	})
	return all, err
}

// readEach reads the records behind references by themselves, some at once. Those that have gone are
// not among them.
func readEach[T any](ctx context.Context, n *names, class string, table fields[T], refs []string) (map[string]*T, error) {
	method := class + ".get_record"
	refs = slices.DeleteFunc(refs, func(ref string) bool { return ref == "" || ref == nullRef })
	slices.Sort(refs)
	refs = slices.Compact(refs)
	values := make([]scan.Value, len(refs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxAtOnce)
	for i, ref := range refs {
		own := *n.link
		group.Go(func() (err error) {
			values[i], err = own.call(ctx, method, ref)
			return passOver(err)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := make(map[string]*T, len(refs))
	for i, ref := range refs {
		if values[i].Kind() == scan.Invalid {
			continue
		}
		r, err := noted(n, class, table, ref, values[i])
		if err != nil {
			n.damaged[ref] = n.d.undecodable(method, err)
			continue
		}
		all[ref] = r
	}
	return all, nil
}

// noted reads a record, and learns its id.
func noted[T any](n *names, class string, table fields[T], ref string, v scan.Value) (*T, error) {
	if err := n.note(class, ref, v); err != nil {
		return nil, err
	}
	return record(table, v)
}

// nothingElse is no member: a record is looked at as a whole.
var nothingElse = scan.NewMembers()

// each goes through the records that a call answers with, by their references. err is the damage of
// one that cannot be read.
func (n *names) each(ctx context.Context, method string, args []any, f func(ref string, v scan.Value, err error)) error {
	a, err := n.stream(ctx, ofLookups, method, args...)
	if err != nil {
		return err
	}
	defer a.close()
	rec := scan.NewRecord(nothingElse)
	return a.records(rec, func(damaged error) error {
		f(string(rec.Name), rec.Whole(), damaged)
		return nil
	})
}

// note learns the id and the name of a record. Objects that nobody asks for by themselves, of which there
// are several for each VM, are not remembered beyond this answer when all of a class are read.
func (n *names) note(class, ref string, v scan.Value) error {
	b, err := record(basicFields, v)
	if err != nil {
		return err
	}
	if !isUUID(b.uuid) {
		return errors.New("a record without a uuid")
	}
	if labelled(class) || !n.bulk {
		n.d.refs.learn(object{class, b.uuid}, ref)
	}
	n.known[ref] = named{b.uuid, b.label}
	return nil
}

// loadVMs learns the ids of all VMs.
func (n *names) loadVMs(ctx context.Context) error {
	a, err := n.stream(ctx, ofLookups, "VM.get_all_records")
	if err != nil {
		return err
	}
	defer a.close()
	rec := scan.NewRecord(onlyUUID)
	return a.records(rec, func(damaged error) error {
		if uuid, err := rec.Value(slotUUID).Text(); damaged == nil && err == nil && isUUID(uuid) {
			n.d.refs.learnVM(rec.Name, uuid)
		}
		return nil
	})
}

// onlyUUID is the uuid alone.
var onlyUUID = scan.NewMembers("uuid")
