package xenapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

// vmReader makes VMs of records of the class VM, one after the other, as much of each as was asked for.
// Values that repeat are made once and shared.
type vmReader struct {
	*names
	view    backends.View
	rows    []reading
	native  bool
	etag    bool
	reuse   bool
	devices *devices

	rec     *scan.Record
	m       *model
	texts   strings.Builder
	dicts   []map[string]string // to be used again; those before taken are in use
	taken   int
	lists   []string                            // likewise
	allowed map[string][]backends.AllowedAction // by the set as it came
	hosts   map[string]*backends.Ref            // by reference
	unnamed map[string]*backends.Ref            // likewise, without the name
}

// reader reads VMs as a query wants them.
func (n *names) reader(q backends.Query) *vmReader {
	r := &vmReader{
		names: n, devices: &devices{names: n}, view: q.View, reuse: q.Reuse, rec: scan.NewRecord(vmMembers), m: &model{},
		allowed: map[string][]backends.AllowedAction{}, hosts: map[string]*backends.Ref{}, unnamed: map[string]*backends.Ref{},
	}
	if r.view == "" {
		r.view = backends.ViewBasic
	}
	r.rows = wanted(r.view, q.Members)
	r.native = includes(r.view, backends.ViewNative) && asked("native", q.Members)
	r.etag = includes(r.view, backends.ViewFull) && asked("etag", q.Members)
	return r
}

// damage is an error of one record, and not of the connection to the backend.
type damage struct{ error }

func (d damage) Unwrap() error { return d.error }

// some changes what is asked for: these members.
func (r *vmReader) some(members ...string) *vmReader {
	r.view, r.rows = backends.ViewBasic, wanted(backends.ViewBasic, members)
	return r
}

// of makes a VM of the record that a call answered with.
func (r *vmReader) of(ctx context.Context, v scan.Value) (*backends.VM, error) {
	if err := r.parse(v); err != nil {
		return nil, err
	}
	return r.read(ctx)
}

// parse walks the record that a call answered with.
func (r *vmReader) parse(v scan.Value) error {
	if err := r.rec.Parse(v); err != nil {
		return damage{err}
	}
	return nil
}

// read makes a VM of the record that was walked last.
func (r *vmReader) read(ctx context.Context) (*backends.VM, error) {
	uuid, err := r.uuid()
	if err != nil {
		return nil, damage{err}
	}
	r.begin()
	vm := &r.m.vm
	vm.ID = r.d.id(r.keep(uuid))
	if r.view == backends.ViewID {
		return vm, nil
	}
	if len(r.rec.Value(slotPower).Body()) == 0 {
		return nil, damage{errors.New("no power_state")}
	}
	vm.Backend, vm.Kind, vm.UID = r.d.cfg.Name, backends.XenAPI, vm.ID.Native
	for i := range r.rows {
		row := &r.rows[i]
		v := r.rec.Value(row.slot)
		if v.Kind() == scan.Invalid {
			continue
		}
		if err := row.read(ctx, r, v); err != nil {
			return nil, blame(row.source, err)
		}
	}
	if r.native {
		if vm.Native, err = r.record(ctx, r.rec.Whole()); err != nil {
			return nil, err
		}
	}
	if r.etag {
		vm.ETag = backends.ETag(vm)
	}
	return vm, nil
}

// begin makes room for the next VM.
func (r *vmReader) begin() {
	r.taken = 0
	if r.reuse {
		*r.m = model{}
		r.lists = r.lists[:0]
		return
	}
	r.m, r.dicts, r.lists = &model{}, nil, nil
}

// blame makes an error of a member damage of the record, unless it is the backend's.
func blame(source string, err error) error {
	_, known := errors.AsType[damage](err)
	_, theirs := errors.AsType[*backends.Error](err)
	if err == nil || known || theirs {
		return err
	}
	return damage{fmt.Errorf("member %s: %w", source, err)}
}

// uuid is the record's, which may be damaged otherwise.
func (r *vmReader) uuid() ([]byte, error) {
	v := r.rec.Value(slotUUID)
	if v.Kind() == scan.Invalid {
		return nil, errors.New("no member uuid")
	}
	uuid, err := v.Text()
	if err == nil && !isUUID(uuid) {
		err = errors.New("no uuid")
	}
	return uuid, err
}

// textRoom is how much memory is taken at once for the texts of VMs: a VM that is kept keeps no more
// than that from being freed.
const textRoom = 4 << 10

// keep makes a text of b, which will change.
func (r *vmReader) keep(b []byte) string {
	if r.texts.Cap()-r.texts.Len() < len(b) {
		r.texts = strings.Builder{}
		r.texts.Grow(max(textRoom, len(b)))
	}
	at := r.texts.Len()
	r.texts.Write(b)
	return r.texts.String()[at:]
}

// text is a text as clients may see it.
func (r *vmReader) text(v scan.Value) (string, error) {
	b, err := v.Text()
	if err != nil {
		return "", err
	}
	return r.shown(b), nil
}

func (r *vmReader) shown(b []byte) string {
	if mayTell(b) {
		return r.d.clean(string(b), "")
	}
	return r.keep(b)
}

// words are the texts of a set.
func (r *vmReader) words(v scan.Value) ([]string, error) {
	if r.lists == nil {
		r.lists = make([]string, 0, 8)
	}
	from := len(r.lists)
	p := v.Parts(scan.Array)
	for p.Next() {
		s, err := r.text(p.Value)
		if err != nil {
			return nil, err
		}
		r.lists = append(r.lists, s)
	}
	return slices.Clip(r.lists[from:]), p.Err()
}

// dict is a map of texts.
func (r *vmReader) dict(v scan.Value) (map[string]string, error) {
	var all map[string]string
	p := v.Parts(scan.Struct)
	for p.Next() {
		if all == nil {
			all = r.emptyDict()
		}
		s, err := r.text(p.Value)
		if err != nil {
			return nil, err
		}
		all[r.shown(p.Name)] = s
	}
	return all, p.Err()
}

func (r *vmReader) emptyDict() map[string]string {
	if r.taken == len(r.dicts) {
		r.dicts = append(r.dicts, map[string]string{})
	}
	all := r.dicts[r.taken]
	r.taken++
	clear(all)
	return all
}

// refs are the references in a set.
func (r *vmReader) refs(slot int) ([]string, error) {
	var all []string
	v := r.rec.Value(slot)
	if v.Kind() == scan.Invalid {
		return nil, nil
	}
	p := v.Parts(scan.Array)
	for p.Next() {
		ref, err := p.Value.Text()
		if err != nil {
			return nil, damage{fmt.Errorf("member %s: %w", slotNames[slot], err)}
		}
		all = append(all, string(ref))
	}
	if p.Err() != nil {
		return nil, damage{fmt.Errorf("member %s: %w", slotNames[slot], p.Err())}
	}
	return all, nil
}

// reference is one reference; "" where the record has none.
func (r *vmReader) reference(slot int) (string, error) {
	v := r.rec.Value(slot)
	if v.Kind() == scan.Invalid {
		return "", nil
	}
	ref, err := v.Text()
	if err != nil {
		return "", damage{fmt.Errorf("member %s: %w", slotNames[slot], err)}
	}
	return string(ref), nil
}

// hidden reports whether the VM is none that lists show. A flag that nobody can read hides nothing.
func (r *vmReader) hidden() bool {
	for _, slot := range []int{slotTemplate, slotSnapshot, slotControlDomain} {
		if v := r.rec.Value(slot); v.Kind() == scan.Bool {
			if is, err := v.Bool(); err == nil && is {
				return true
			}
		}
	}
	return false
}

// The members that are more than a value with a type.

// idle is what most VMs do.
var idle = []backends.CurrentOperation{}

// operations are those under way, by the references of their tasks; nil for none.
func (r *vmReader) operations() (map[string]string, error) {
	v := r.rec.Value(slotOperations)
	if v.Kind() == scan.Invalid || v.Kind() == scan.Struct && len(v.Body()) == 0 {
		return nil, nil
	}
	var all map[string]string
	p := v.Parts(scan.Struct)
	for p.Next() {
		raw, err := p.Value.Text()
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = map[string]string{}
		}
		all[string(p.Name)] = string(raw)
	}
	return all, p.Err()
}

func (r *vmReader) states(power scan.Value) (state, base backends.State, err error) {
	b, err := power.Text()
	if err != nil {
		return "", "", err
	}
	current, err := r.operations()
	if err != nil {
		return "", "", err
	}
	state, base = stateOf(string(b), current)
	return state, base, nil
}

func readState(_ context.Context, r *vmReader, v scan.Value) (err error) {
	r.m.vm.State, _, err = r.states(v)
	return err
}

func readBaseState(_ context.Context, r *vmReader, v scan.Value) (err error) {
	_, r.m.vm.BaseState, err = r.states(v)
	return err
}

func readRawState(_ context.Context, r *vmReader, v scan.Value) error {
	b, err := v.Text()
	if err != nil {
		return err
	}
	if r.m.vm.RawState = rawStates[string(b)]; r.m.vm.RawState == nil {
		r.m.vm.RawState = &backends.RawState{PowerState: r.shown(b)}
	}
	return nil
}

// maxSets bounds how many different sets of allowed operations are remembered.
const maxSets = 1 << 10

// readActions makes one list of all VMs to which the same is allowed.
func readActions(_ context.Context, r *vmReader, v scan.Value) error {
	all, known := r.allowed[string(v.Body())]
	if !known {
		var raw []string
		p := v.Parts(scan.Array)
		for p.Next() {
			b, err := p.Value.Text()
			if err != nil {
				return err
			}
			raw = append(raw, r.d.clean(string(b), ""))
		}
		if p.Err() != nil {
			return p.Err()
		}
		all = actions(raw)
		if len(r.allowed) == maxSets {
			clear(r.allowed)
		}
		r.allowed[string(v.Body())] = all
	}
	r.m.vm.AllowedActions = all
	return nil
}

// actions are sorted: XenAPI's order changes from read to read.
func actions(allowed []string) []backends.AllowedAction {
	all := make([]backends.AllowedAction, 0, len(allowed)+1)
	for _, raw := range slices.Sorted(slices.Values(allowed)) {
		row, _ := lookUpOperation(raw)
		all = append(all, backends.AllowedAction{Action: row.verb, Raw: raw})
		if raw == "unpause" {
			all = append(all, backends.AllowedAction{Action: "resume", Raw: raw}) // see resume
		}
	}
	return all
}

// readOperations puts them into the order of their names, since XenAPI's map has none. The task is told
// where it is known and visible to the user.
func readOperations(ctx context.Context, r *vmReader, _ scan.Value) error {
	current, err := r.operations()
	if err != nil {
		return err
	}
	r.m.vm.CurrentOperations = idle
	if len(current) == 0 {
		return nil
	}
	all := make([]backends.CurrentOperation, 0, len(current))
	for task, raw := range current {
		row, _ := lookUpOperation(raw)
		op := backends.CurrentOperation{Raw: r.d.clean(raw, ""), Action: row.verb}
		if strings.HasPrefix(task, refPrefix) {
			if op.Task, err = r.id(ctx, "task", task); err != nil {
				return err
			}
		}
		all = append(all, op)
	}
	slices.SortFunc(all, func(a, b backends.CurrentOperation) int {
		return strings.Compare(a.Raw+taskText(a), b.Raw+taskText(b))
	})
	r.m.vm.CurrentOperations = all
	return nil
}

func taskText(o backends.CurrentOperation) string {
	if o.Task == nil {
		return ""
	}
	return o.Task.Native
}

// vmHost is another object of the same pool that all its VMs share, with its name or without.
func vmHost(named bool, place func(*model) **backends.Ref) read {
	return func(ctx context.Context, r *vmReader, v scan.Value) error {
		ref, err := v.Text()
		if err != nil || len(ref) == 0 || string(ref) == nullRef {
			return err
		}
		known := r.hosts
		if !named {
			known = r.unnamed
		}
		host, ok := known[string(ref)]
		if !ok {
			if host, err = r.host1(ctx, string(ref), named); err != nil {
				return err
			}
			if host == nil { // it has gone
				return nil
			}
			known[string(ref)] = host
		}
		*place(r.m) = host
		return nil
	}
}

func (r *vmReader) host1(ctx context.Context, ref string, named bool) (*backends.Ref, error) {
	if named {
		return r.ref(ctx, "host", ref)
	}
	id, err := r.id(ctx, "host", ref)
	if id == nil || err != nil {
		return nil, err
	}
	return &backends.Ref{ID: *id}, nil
}

// vmRef is the id of an object of that class.
func vmRef(class string, place func(*model) **backends.ID) read {
	return func(ctx context.Context, r *vmReader, v scan.Value) error {
		ref, err := v.Text()
		if err != nil || len(ref) == 0 || string(ref) == nullRef {
			return err
		}
		id, err := r.id(ctx, class, string(ref))
		if id != nil {
			*place(r.m) = id
		}
		return err
	}
}

// readDomain is the hypervisor's number of a running VM; XenAPI's domain -1 is none.
func readDomain(_ context.Context, r *vmReader, v scan.Value) error {
	n, err := v.Int()
	if err == nil && n >= 0 {
		r.m.runtime().DomainID = strconv.FormatInt(n, 10)
	}
	return err
}

// readSnapshotTime passes over XenAPI's 1970, which is "never".
func readSnapshotTime(_ context.Context, r *vmReader, v scan.Value) error {
	if string(v.Body()) == "19700101T00:00:00Z" {
		return nil
	}
	t, err := v.Time()
	if err == nil && t.Unix() > 0 {
		r.m.parts.moment = t
		r.m.xenapi().SnapshotTime = &r.m.parts.moment
	}
	return err
}

func readDisks(ctx context.Context, r *vmReader, _ scan.Value) (err error) {
	r.m.vm.Disks, err = disksOf(ctx, r)
	return err
}

func readNICs(ctx context.Context, r *vmReader, _ scan.Value) (err error) {
	r.m.vm.NICs, err = nicsOf(ctx, r)
	return err
}
