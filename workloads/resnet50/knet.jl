# Features of ResNet-50 in Knet, from Julia.
using Knet: CUDA, Knet, batchnorm, bnmoments, bnparams, conv4, param, pool, relu, value
using PyCall
using Statistics: mean

harness = pyimport("harness")

gpu = CUDA.functional()
cell = harness.Cell(
    string(pkgversion(Knet)),
    gpu ? string(CUDA.version()) : nothing,
    gpu ? string(CUDA.CUDNN.version()) : nothing,
    Dict("julia" => string(VERSION), "PyCall" => string(pkgversion(PyCall))),
)
params = cell.params
@assert gpu == (cell.gpus > 0) "Knet takes a GPU if it sees one, else the CPU, without a word"

# --- Data -----------------------------------------------------------------------------------------------------------
# Julia's arrays are column-major: what is (N, C, H, W) in Python is (W, H, C, N) here, without moving a number.
data = pycall(cell.data, PyObject; layout = "NCHW")
columns(x) = Knet.atype(x.T) # from NumPy; on a GPU, to the GPU
rows(x) = PyReverseDims(Array(x)) # and back

# --- Model ----------------------------------------------------------------------------------------------------------
# A layer is whatever can be called; the batch normalisation has its scale and shift in one vector.
struct Unit
    w
    affine
    moments
    stride
end
units = Unit[] # in the order in which they are made

function Unit(inputs::Int, outputs::Int, size::Int, stride::Int = 1)
    average, variance = (Knet.atype(fill(Float32, 1, 1, outputs, 1)) for fill in (zeros, ones))
    moments = bnmoments(mean = average, var = variance)
    unit = Unit(param(size, size, inputs, outputs), Knet.atype(bnparams(Float32, outputs)), moments, stride)
    push!(units, unit)
    return unit
end

function (unit::Unit)(x)
    x = conv4(unit.w, x; padding = size(unit.w, 1) ÷ 2, stride = unit.stride, mode = 1) # mode 0 turns the window
    return batchnorm(x, unit.moments, unit.affine; eps = params.epsilon) # by the stored means, outside of @diff
end

struct Block
    unit1
    unit2
    unit3
    shortcut
end

function Block(inputs, width, stride)
    unit1 = Unit(inputs, width, 1)
    unit2 = Unit(width, width, 3, stride) # version 1.5: the stride lies on the 3×3 convolution
    unit3 = Unit(width, 4 * width, 1)
    return Block(unit1, unit2, unit3, inputs == 4 * width ? identity : Unit(inputs, 4 * width, 1, stride))
end

function (block::Block)(x)
    y = relu.(block.unit1(x))
    y = relu.(block.unit2(y))
    return relu.(block.unit3(y) .+ block.shortcut(x))
end

function build_blocks()
    blocks, inputs = Block[], 64
    for (stage, (count, width)) in enumerate(zip(params.blocks, params.widths)), number in 1:count
        push!(blocks, Block(inputs, width, stage > 1 && number == 1 ? 2 : 1))
        inputs = 4 * width
    end
    return blocks
end
stem = Unit(3, 64, 7, 2)
blocks = build_blocks()

function model(x)
    x = pool(relu.(stem(x)); window = 3, stride = 2, padding = 1)
    x = foldl((x, block) -> block(x), blocks; init = x)
    return dropdims(mean(x; dims = (1, 2)); dims = (1, 2))
end


# --- Prediction -----------------------------------------------------------------------------------------------------
predict(x) = rows(model(columns(x)))


# --- Weights --------------------------------------------------------------------------------------------------------
function set_weights(arrays)
    for (unit, (w, scale, shift, average, variance)) in zip(units, Iterators.partition(arrays, 5))
        copyto!(value(unit.w), w.T)
        copyto!(unit.affine, [scale.T; shift.T])
        copyto!(unit.moments.mean, average.T)
        copyto!(unit.moments.var, variance.T)
    end
end

function get_weights()
    arrays = PyObject[]
    for unit in units
        scale, shift = eachcol(reshape(Array(unit.affine), :, 2))
        vectors = (scale, shift, unit.moments.mean, unit.moments.var)
        push!(arrays, rows(value(unit.w)), (PyObject(vec(Array(vector))) for vector in vectors)...)
    end
    return arrays
end

weights = harness.Weights(get_weights, pyfunction(set_weights, Vector{PyObject}))
cell.run(data, pyfunction(predict, PyObject); weights) # PyObject: as Python has it, its axes not yet turned
